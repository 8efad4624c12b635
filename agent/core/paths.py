"""Where the files of this installation lie.

A clone and an installed wheel have the same layout: `agent/`, `prompts/` and `seeds/` lie next to each other, in a wheel
below `guided_evolution/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agent.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `agent/`, `prompts/` and `seeds/`."""
_STARTS = ("agent/cli/start/guided_evolution.py", "__init__.py")
"""The file that starts our processes: its path in a clone, and in a wheel."""


def shipped(name: str, root: Path = ROOT) -> Path:
    """The folder `name` that came with this installation; raises UserError if the installation is incomplete."""
    if not (root / name).is_dir():
        raise UserError(f"The folder {name}/ is missing from {root}: install guided-evolution again.")
    return root / name


def prompts_folder() -> Path:
    return shipped("prompts")


def seeds_folder() -> Path:
    return shipped("seeds")


def start_command(module: str, *arguments: str) -> list[str]:
    """The command line of a new interpreter that calls `main` of one of our modules, not of another package named `agent`.

    It has no `-s`, because packages that were installed with `pip install --user` have to be found.
    """
    start = next(path for path in map(ROOT.joinpath, _STARTS) if path.is_file())
    return [sys.executable, "-P", str(start), module, *arguments]
