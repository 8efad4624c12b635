"""For authors of tasks: a folder to begin with, and the contract of a `task.py` tried on their seed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from agent.core.errors import MachineError, UserError
from agent.core.paths import seeds_folder
from agent.genome import read_genome
from agent.run import config as configuration
from sandbox import SandboxUnavailable

TEMPLATE = "own_task"
"""The shipped seed that a new task begins as."""


def new_task(folder: Path) -> str:
    """Copies the template; what to do next. Raises UserError if there is something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: name a folder that does not exist or is empty.")
    try:
        shutil.copytree(
            seeds_folder() / TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}.") from error
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    return f"Wrote {files} to {folder}. Change task.py and model.py, then:\n  evolve check-task {folder}"


def check_task(seed: str) -> list[dict[str, Any]]:
    """Each check with its name, whether it passed, and what it found. Raises UserError for a seed without a task.py."""
    from sandbox.launch.client import ForkServerSandbox
    from sandbox.launch.detect import detect
    from sandbox.tasks.own.check import checks

    config = configuration.load(seed, None, {}, ())
    folder, name = Path(config.seed.folder), str(config.task.get("name"))
    if not name.endswith(".py"):
        raise UserError(f'{seed} has the task {name!r}; a task of its own is a file: [task] name = "task.py".')
    genome = read_genome(folder, config.seed.files, config.seed.frozen)
    try:
        isolation = detect()
        sandbox = ForkServerSandbox(isolation.level, isolation.layers)
        try:
            files = dict(genome.files)
            found = checks(config.task, config.budget, files, configuration.cache_folder(), folder, sandbox)
            return [{"check": check.name, "passed": check.passed, "found": check.detail} for check in found]
        finally:
            sandbox.close()
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
