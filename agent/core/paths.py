"""Where the shipped folders `prompts/` and `seeds/` lie: in a clone at its root, in a wheel in `agent/_data/`."""

from __future__ import annotations

from pathlib import Path

from agent.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str, package: Path = _PACKAGE) -> Path:
    """The folder `name` that came with this installation; raises UserError if the installation is incomplete.

    The wheel's place is looked at first: beside an installed package a stranger's `prompts/` may lie.
    """
    for folder in (package / "_data" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise UserError(f"The folder {name}/ is missing from {package}: install guided-evolution again.")


def prompts_folder() -> Path:
    return shipped("prompts")


def seeds_folder() -> Path:
    return shipped("seeds")
