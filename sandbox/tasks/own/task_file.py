"""Checks the user's file `task.py` and imports it on the trusted side, for `data` and `score`.

Its `fit` and `predict` are never called here: they run in the sandbox, which receives the part of the file that they need.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from sandbox.isolation.parsing import parse
from sandbox.sandbox import TaskError
from sandbox.tasks.own.part_inside import part_inside

Direction = Literal["max", "min"]

FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "data": (),
    "fit": ("module", "train", "budget", "seed"),
    "predict": ("module", "weights", "inputs"),
    "score": ("predictions", "targets"),
}
"""The functions that the file must define, with the parameters that they are called with."""
OPTIONAL: Mapping[str, tuple[str, ...]] = {"facts": (), "example": (), "normalised": ("predictions",)}
"""The functions that the file may define."""
MAX_SOURCE = 200_000
"""Characters."""


@dataclass(frozen=True)
class TaskFile:
    """A `task.py` that was read, imported and found complete."""

    path: Path
    text: str
    module: ModuleType
    title: str
    objectives: Mapping[str, Direction]
    """The quantities that `score` returns, each with `max` or `min`."""
    output_shape: tuple[int, ...]
    """Shape of the prediction for one row."""

    @classmethod
    def load(cls, path: Path) -> TaskFile:
        """Read the file. Raises TaskError if it is missing, cannot be imported or lacks something."""
        text = _read(path)
        module = _imported(path, text)
        for name, parameters in FUNCTIONS.items():
            if not callable(getattr(module, name, None)):
                raise TaskError(f"{path} has no function {name}({', '.join(parameters)}).")
        for name, parameters in {**FUNCTIONS, **OPTIONAL}.items():
            if function := getattr(module, name, None):
                _check_parameters(path, name, function, parameters)
        return cls(path, text, module, _title(path, module), _objectives(path, module), _output_shape(path, module))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one of its functions. Whatever that raises becomes a TaskError that names the line."""
        try:
            return getattr(self.module, name)(*arguments)
        except Exception as error:  # the user's code may raise anything
            raise TaskError(f"{name}() of {self.path} fails: {_where(error, self.path)}") from error

    @cached_property
    def inside(self) -> str:
        """The part of the text that enters a sandbox: what `fit` and `predict` need."""
        return part_inside(self.text)

    @property
    def entry_points(self) -> frozenset[str]:
        """Return every name that the file could use from the candidate's module, as an attribute or by `getattr`."""
        found: set[str] = set()
        for node in ast.walk(parse(self.inside)):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
        return frozenset(found)

    def shown(self, *names: str) -> str:
        """Return the source of some of its functions, for prompts."""
        tree = parse(self.text)
        nodes = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in names]
        return "\n\n\n".join(ast.get_source_segment(self.text, node) or "" for node in nodes)


def judges_foreign_weights(file: TaskFile) -> bool:
    """Must programs predict badly with shuffled weights? `foreign_weights = False` in the file says that honest ones need not."""
    return bool(getattr(file.module, "foreign_weights", True))


def _read(path: Path) -> str:
    try:
        text = decode_source(path.read_bytes())  # as Python reads it: marks, declared encodings, any line end
    except FileNotFoundError:
        raise TaskError(f"task.name: there is no file {path}.") from None
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error}.") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not text as Python reads it ({error}): save it as UTF-8.") from None
    if len(text) > MAX_SOURCE:
        raise TaskError(f"{path} has {len(text):,} characters; {MAX_SOURCE:,} is the limit.")
    return text


def _imported(path: Path, text: str) -> ModuleType:
    """Import the file as a module that cannot import the files next to it: the candidate's are among them. Raises TaskError."""
    module = ModuleType(f"evolve_task_{abs(hash(str(path)))}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and others look up their module
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise TaskError(f"{path} is not valid Python: line {error.lineno}: {error.msg}.") from None
    except Exception as error:  # the user's code may raise anything
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = " It may import installed packages only; the program under evolution reaches it as `module`."
        raise TaskError(f"{path} cannot be imported: {_where(error, path)}{hint}") from error
    return module


def _where(error: Exception, path: Path) -> str:
    """Return the error with its line, such as `ZeroDivisionError: division by zero (line 12).`"""
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} (line {line})." if line else f"{text}."


def _check_parameters(path: Path, name: str, function: Callable[..., object], parameters: tuple[str, ...]) -> None:
    try:
        inspect.signature(function).bind(*parameters)
    except (TypeError, ValueError):
        raise TaskError(f"{path}: {name} is called as {name}({', '.join(parameters)}); change its parameters.") from None


def _title(path: Path, module: ModuleType) -> str:
    title = getattr(module, "title", None)
    if not isinstance(title, str) or not title.strip():
        raise TaskError(f'{path}: say in one sentence what the program is for: title = "...".')
    return " ".join(title.split())


def _objectives(path: Path, module: ModuleType) -> Mapping[str, Direction]:
    found: Any = _pairs(getattr(module, "objectives", None))
    named = isinstance(found, dict) and found and all(isinstance(name, str) and name.isidentifier() for name in found)
    if not named or any(direction not in ("max", "min") for direction in found.values()):
        raise TaskError(f'{path}: name what score returns and which way is better: objectives = {{"error": "min"}}.')
    return cast(dict[str, Direction], dict(found))


def _pairs(found: Any) -> Any:
    """A dict of what is written as pairs, or as a single pair of texts; anything else as it is."""
    if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(one, str) for one in found):
        return {found[0]: found[1]}
    pairs = isinstance(found, tuple | list) and all(isinstance(one, tuple | list) and len(one) == 2 for one in found)
    hashable = pairs and all(isinstance(one[0], str) for one in found)
    return dict(found) if hashable else found


def _output_shape(path: Path, module: ModuleType) -> tuple[int, ...]:
    shape: Any = getattr(module, "output_shape", None)
    shape = tuple(shape) if isinstance(shape, list) else shape
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 < n < 1 << 24 for n in shape):
        raise TaskError(f"{path}: give the shape of the prediction for one row: output_shape = (10,), or () for a number.")
    return shape
