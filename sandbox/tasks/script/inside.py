"""A script in the sandbox: a private copy of its project, the candidate's files over it, and the script run as `__main__`.

There is no second process and no exec: the forked child becomes the script. All it says is a claim.
"""

from __future__ import annotations

import os
import random
import runpy
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sandbox.child import Child
from sandbox.tasks.stages import PROJECT

_ENVIRONMENT = {
    "USER": "evolve", "LOGNAME": "evolve", "MPLBACKEND": "Agg", "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TERM": "dumb",
}  # fmt: skip
"""What scripts often look for; there is nobody at the screen and no network."""


def run(child: Child) -> bytes:
    """Runs the script to its end; an error, or an exit code that is not 0, comes through."""
    options = child.options
    folder = child.scratch / PROJECT
    _unpack(child, folder, options["links"])
    os.chdir(folder)
    seed, threads = options["training_seed"], str(child.threads)
    os.environ.update(_ENVIRONMENT, EVOLVE_SEED=str(seed), OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    torch.set_num_threads(child.threads)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    _without_workers()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was said before a time limit is kept
    target, is_module = options["target"], options["is_module"]
    sys.argv = [target, *options["arguments"]]
    _forget_ourselves(folder if is_module else (folder / target).parent)
    try:
        if is_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(folder / target), run_name="__main__")
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise
    return b""


def _unpack(child: Child, folder: Path, links: Mapping[str, str]) -> None:
    """Written file by file: the sandbox refuses the change of times and rights that an extraction would ask for."""
    folder.mkdir()
    with open(child.inputs["project"], "rb", closefd=False) as file, tarfile.open(fileobj=file) as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            assert content is not None, "the archive holds plain files only"
            _write(folder / entry.name, content.read())
    for path, text in child.sources.items():
        _write(folder / path, text.encode("utf-8", "surrogatepass"))
    for name, target in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _without_workers() -> None:
    """A DataLoader's workers are processes, which no candidate may start: the loader works in this one."""
    loader: Any = torch.utils.data.DataLoader
    made = loader.__init__

    def alone(self: Any, *arguments: Any, **named: Any) -> None:
        for name in ("num_workers", "persistent_workers", "prefetch_factor", "timeout", "multiprocessing_context"):
            named.pop(name, None)
        made(self, *arguments[:5], **named)  # the sixth is num_workers

    loader.__init__ = alone


def _forget_ourselves(first: Path) -> None:
    """The script finds its own modules first, and one that is called `sandbox` too."""
    ours = str(Path(__file__).resolve().parents[3])
    sys.path[:] = [str(first), *(path for path in sys.path if path != ours)]
    for name in [n for n in sys.modules if n == "sandbox" or n.startswith("sandbox.")]:
        del sys.modules[name]
