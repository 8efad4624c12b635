"""A script inside the sandbox: a private copy of its project, overlaid with the candidate's files; it runs as `__main__`.

There is no second process and no exec: the forked process becomes the script. Everything that it prints is a claim.
"""

from __future__ import annotations

import os
import random
import runpy
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sandbox.inside.call import RunningCall
from sandbox.tasks.common.refusals import PROJECT
from sandbox.tasks.script.watch import EveryFileRan, FileWatch

_ENVIRONMENT = {
    "USER": "evolve", "LOGNAME": "evolve", "MPLBACKEND": "Agg", "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TERM": "dumb",
}  # fmt: skip
"""Environment variables that scripts often read; there is no display and no network."""


def run(call: RunningCall) -> bytes:
    """Run the script to its end. Raises its errors, and SystemExit for an exit code other than 0."""
    _prepare(call)
    _run_script(call)
    return b""


def try_out(call: RunningCall) -> bytes:
    """Run the script until each of the candidate's files has begun to run, or to its end. Return `FileWatch.result`."""
    _prepare(call)
    watch = FileWatch(_folder(call), call.sources)
    watch.start()
    try:
        _run_script(call)
    except EveryFileRan:
        pass
    finally:
        watch.stop()
    return watch.result()


def _prepare(call: RunningCall) -> None:
    """Write the copy, seed every generator, and make the process what a script expects of its own."""
    options = call.options
    folder = _folder(call)
    _unpack(call, folder, options["links"])
    os.chdir(folder)
    seed, threads = options["training_seed"], str(call.threads)
    os.environ.update(_ENVIRONMENT)
    os.environ.update(options["environment"])
    os.environ.update(EVOLVE_SEED=str(seed), OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    torch.set_num_threads(call.threads)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    _disable_workers()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # output before a time limit is kept
    sys.argv = [options["target"], *options["arguments"]]
    own = folder if options["is_module"] else (folder / options["target"]).parent
    _hide_sandbox([own, *(folder / root for root in options["pythonpath"])])


def _folder(call: RunningCall) -> Path:
    """Where the copy lies: so deep that what lies above the project can be linked above it."""
    return call.scratch.joinpath(*["above"] * (call.options["depth"] - 1), PROJECT)


def _run_script(call: RunningCall) -> None:
    """Become the script. Raises its errors, and SystemExit for an exit code other than 0."""
    target = call.options["target"]
    try:
        if call.options["is_module"]:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(_folder(call) / target), run_name="__main__")
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise


def _unpack(call: RunningCall, folder: Path, links: Mapping[str, str]) -> None:
    """Write file by file, because the sandbox refuses the changes of times and permissions that tar extraction makes."""
    folder.mkdir(parents=True)
    with open(call.inputs["project"], "rb", closefd=False) as file, tarfile.open(fileobj=file) as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            assert content is not None, "the archive holds plain files only"
            _write(folder / entry.name, content.read())
    for path, text in call.sources.items():
        _write(folder / path, text.encode("utf-8", "surrogatepass"))
    for name, target in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _disable_workers() -> None:
    """Make every DataLoader work in this process: its workers would be processes, which no candidate may start."""
    loader: Any = torch.utils.data.DataLoader
    original = loader.__init__

    def without_workers(self: Any, *arguments: Any, **named: Any) -> None:
        for name in ("num_workers", "persistent_workers", "prefetch_factor", "timeout", "multiprocessing_context"):
            named.pop(name, None)
        original(self, *arguments[:5], **named)  # the sixth argument is num_workers

    loader.__init__ = without_workers


def _hide_sandbox(first: Sequence[Path]) -> None:
    """Let the script find its own modules in the folders `first`, even one that is called `sandbox`."""
    ours = str(Path(__file__).resolve().parents[3])
    sys.path[:] = [*dict.fromkeys(map(str, first)), *(path for path in sys.path if path != ours)]
    for name in [n for n in sys.modules if n == "sandbox" or n.startswith("sandbox.")]:
        del sys.modules[name]
