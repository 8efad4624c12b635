"""What a script may read in place besides the copy of its project, and where it finds that from its working folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sandbox.sandbox import TaskError

MOST_LEVELS = 4
"""How many folders above the project a link may lie: the copy lies as deep in the scratch folder."""


@dataclass(frozen=True)
class ReadablePlace:
    """A file or folder that the script reads in place."""

    name: str
    """Relative to the project's folder as the user gave it, else its absolute path."""
    real: Path
    link: str
    """Where a link to it lies, relative to the copy; empty if only its absolute path leads to it."""

    @classmethod
    def find(cls, name: str, folder: Path, here: Path) -> ReadablePlace:
        """Find what `task.readable` names. `folder`: the project's; `here`: where the user stands, tried if `folder` has no such.

        Raises TaskError.
        """
        given = Path(name).expanduser()
        place = next((base / given for base in (folder, here) if (base / given).exists()), None)
        if place is None:
            others = f", nor {here / given}" if here.resolve() != folder and not given.is_absolute() else ""
            raise TaskError(f"task.readable: there is no {folder / given}{others}.")
        real = place.resolve()
        if Path.home().resolve().is_relative_to(real) or folder.is_relative_to(real):
            raise TaskError(f"task.readable: {name} holds your home folder or the whole project; name the data alone.")
        # As it is reached, and not where links lead: the script writes the path that it sees.
        seen = [os.path.relpath(os.path.abspath(place), folder), os.path.relpath(real, folder)]
        link = min(seen, key=_levels_up)
        kept = name if place == folder / given else os.path.abspath(place)
        return cls(kept, real, link if _levels_up(link) <= MOST_LEVELS else "")

    @property
    def levels_up(self) -> int:
        """How many folders above the copy the link lies."""
        return _levels_up(self.link)


def _levels_up(path: str) -> int:
    return Path(path).parts.count("..")
