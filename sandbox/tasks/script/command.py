"""The command of a script task: Python and nothing else, because the sandbox starts no other program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox.sandbox import TaskError

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_WITHOUT_EFFECT = ("-u", "-B", "-s", "-I", "-E")
"""Flags of the interpreter that have no effect in the sandbox."""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OURS = ("PYTHONPATH", "CUDA_VISIBLE_DEVICES", "HOME", "TMPDIR", "PATH")
"""Variables that a command may set but that the sandbox decides: the first is `ScriptCommand.pythonpath`."""


@dataclass(frozen=True)
class ScriptCommand:
    """A command `python FILE ARGUMENTS` or `python -m MODULE ARGUMENTS`; `NAME=value` may stand before it."""

    target: str
    """A file relative to the project's folder, or the name of a module."""
    is_module: bool
    arguments: tuple[str, ...]
    pythonpath: tuple[str, ...] = ()
    """The folders of a `PYTHONPATH=` before the command."""
    environment: tuple[tuple[str, str], ...] = ()
    """The other variables before the command."""

    @classmethod
    def parse(cls, text: str) -> ScriptCommand:
        """Parse a command line. Raises TaskError for anything that cannot be run in the sandbox."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise TaskError(f"task.command: {text!r} cannot be read: {error}.") from None
        environment = {}
        words = words[1:] if words[:1] == ["env"] else words
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            environment[found[1]], words = found[2], words[1:]
        if not words or not _PYTHON.fullmatch(Path(words[0]).name):
            raise TaskError(
                f'task.command: {text!r} is not of the form "python FILE [arguments]": the sandbox runs Python and starts no '
                "other program."
            )
        rest = words[1:]
        while rest and rest[0] in _WITHOUT_EFFECT:
            rest = rest[1:]
        pythonpath = tuple(p for p in environment.get("PYTHONPATH", "").split(":") if p and "$" not in p)
        given = tuple((name, value) for name, value in environment.items() if name not in _OURS)
        if rest[:1] == ["-m"] and len(rest) > 1:
            return cls(rest[1], True, tuple(rest[2:]), pythonpath, given)
        if not rest or rest[0].startswith("-"):
            raise TaskError(f'task.command: {text!r} names no file: it must look like "python train.py --epochs 3".')
        if any(mark in rest for mark in ("|", ">", ">>", "<", "&&", "||", ";", "&")):
            raise TaskError(f"task.command: {text!r} needs a shell, and the sandbox has none: give one Python command.")
        return cls(str(Path(rest[0])), False, tuple(rest[1:]), pythonpath, given)

    def candidates(self, roots: Iterable[str] = ()) -> tuple[str, ...]:
        """Return where the code may be, relative to the project's folder. `roots`: folders that modules are imported from."""
        if not self.is_module:
            return (self.target,)
        path = self.target.replace(".", "/")
        modules = (f"{path}.py", f"{path}/__main__.py")
        return tuple(str(Path(root, module)) for root in dict.fromkeys((".", *roots)) for module in modules)

    def exists_in(self, folder: Path, roots: Iterable[str] = ()) -> bool:
        """Whether the code exists in a folder. Files outside of the folder do not count. `roots`: as in `candidates`."""
        places = [folder / candidate for candidate in self.candidates((*self.pythonpath, *roots))]
        return any(path.is_file() for path in places if path.resolve().is_relative_to(folder.resolve()))
