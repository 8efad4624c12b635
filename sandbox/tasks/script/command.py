"""The command of a script task: Python and nothing else, because the sandbox starts no other program."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from sandbox.sandbox import TaskError

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_WITHOUT_EFFECT = ("-u", "-B", "-s", "-I", "-E")
"""Flags of the interpreter that have no effect in the sandbox."""


@dataclass(frozen=True)
class ScriptCommand:
    """A command `python FILE ARGUMENTS` or `python -m MODULE ARGUMENTS`."""

    target: str
    """A file relative to the project's folder, or the name of a module."""
    is_module: bool
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> ScriptCommand:
        """Parse a command line. Raises TaskError for anything that cannot be run in the sandbox."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise TaskError(f"task.command: {text!r} cannot be read: {error}.") from None
        if not words or not _PYTHON.fullmatch(Path(words[0]).name):
            raise TaskError(
                f'task.command: {text!r} is not of the form "python FILE [arguments]": the sandbox runs Python and starts no '
                "other program."
            )
        rest = words[1:]
        while rest and rest[0] in _WITHOUT_EFFECT:
            rest = rest[1:]
        if rest[:1] == ["-m"] and len(rest) > 1:
            return cls(rest[1], True, tuple(rest[2:]))
        if not rest or rest[0].startswith("-"):
            raise TaskError(f'task.command: {text!r} names no file: it must look like "python train.py --epochs 3".')
        if any(mark in rest for mark in ("|", ">", ">>", "<", "&&", "||", ";", "&")):
            raise TaskError(f"task.command: {text!r} needs a shell, and the sandbox has none: give one Python command.")
        return cls(str(Path(rest[0])), False, tuple(rest[1:]))

    def candidates(self) -> tuple[str, ...]:
        """Return where the code may be, relative to the project's folder."""
        if not self.is_module:
            return (self.target,)
        path = self.target.replace(".", "/")
        return (f"{path}.py", f"{path}/__main__.py")

    def exists_in(self, folder: Path) -> bool:
        """Whether the code exists in a folder. Files outside of the folder do not count."""
        inside = [folder / c for c in self.candidates() if (folder / c).resolve().is_relative_to(folder.resolve())]
        return any(path.is_file() for path in inside)
