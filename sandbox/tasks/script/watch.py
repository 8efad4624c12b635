"""Inside the sandbox: which of the candidate's files a script runs from its private copy, and what it imports in their place."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType
from typing import Any


class EveryFileRan(BaseException):
    """Raised out of the script when the last of the files begins to run: nothing more is to be learned."""


class FileWatch:
    """Sees by Python's audit events which files run: by import, as the main program, or by `exec` of their text."""

    def __init__(self, folder: Path, files: Collection[str]) -> None:
        self._folder = os.path.realpath(folder)
        self._left = {os.path.realpath(folder / file): file for file in files}
        self._opened: set[str] = set()
        self._on = True

    def start(self) -> None:
        sys.addaudithook(self._see)

    def stop(self) -> None:
        """Raise nothing any more; an audit hook cannot be removed."""
        self._on = False

    def result(self) -> bytes:
        """Return a line for each file that did not run: its path, a tab, and what was imported in its place, if anything."""
        return "".join(f"{file}\t{self._instead(file)}\n" for file in self._left.values()).encode()

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on or event not in ("exec", "open"):
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            self._opened |= {path} & self._left.keys()
        elif event == "exec" and isinstance(arguments[0], CodeType):
            name = arguments[0].co_filename
            ran = self._opened if name == "<string>" else {os.path.realpath(name)}
            for path in list(ran):
                self._left.pop(path, None)
        if not self._left:
            raise EveryFileRan

    def _instead(self, file: str) -> str:
        return next(self._others(file), "")

    def _others(self, file: str) -> Iterator[str]:
        """Yield files outside of the copy that were imported under a name of this one: `mypkg.net` for `src/mypkg/net.py`."""
        for name, module in list(sys.modules.items()):
            place = getattr(module, "__file__", None)
            path = name.replace(".", "/")
            named = any(f"/{file}".endswith(f"/{path}{end}") for end in (".py", "/__init__.py"))
            if named and isinstance(place, str) and not os.path.realpath(place).startswith(self._folder + os.sep):
                yield place
