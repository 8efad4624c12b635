"""For authors of tasks: write an example to start from, and check the contract of a `task.py` on its seed."""

from __future__ import annotations

import shutil
from pathlib import Path

from agent.cli.output import print_to_stderr
from agent.core.errors import MachineError, UserError
from agent.core.paths import seeds_folder
from agent.genome import read_genome
from agent.review.facts import Facts
from agent.run.cache import with_cache
from agent.run.config_sources import load
from sandbox import SandboxUnavailable

TEMPLATE = "own_task"
"""The shipped seed that is copied."""


def create(folder: Path) -> str:
    """Copy the template into `folder` and return what to do next. Raises UserError if the folder is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: name a folder that does not exist or is empty.")
    try:
        shutil.copytree(seeds_folder() / TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}.") from error
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    return f"Wrote {files} to {folder}. Change task.py and model.py, then:\n  evolve check-task {folder}"


def check(seed: str) -> list[Facts]:
    """Run the checks; return each with its name, whether it passed, and what it found.

    Raises UserError for a seed without a task.py, MachineError if the sandbox cannot run.
    """
    from sandbox.launch.client import ForkServerSandbox
    from sandbox.launch.detect import detect
    from sandbox.tasks.own.check import Check, checks

    config = load(seed, None, {}, ())
    folder, name = Path(config.seed.folder), str(config.task.get("name"))
    if not name.endswith(".py"):
        raise UserError(f'{seed} has the task {name!r}; a task of its own is a file: [task] name = "task.py".')
    genome = read_genome(folder, config.seed.files, config.seed.frozen)
    try:
        isolation = detect()
        sandbox = ForkServerSandbox(isolation.level, isolation.layers)
        try:
            files = dict(genome.files)

            def run(cache: Path) -> list[Check]:
                return list(checks(config.task, config.budget, files, cache, folder, sandbox))

            found = with_cache(run, print_to_stderr)
            return [{"check": one.name, "passed": one.passed, "found": one.detail} for one in found]
        finally:
            sandbox.close()
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
