"""A genome: an immutable set of source files seen as named blocks. Reading needs only `ast`; editing is in `editor`."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from agent.errors import UserError
from agent.genome.syntax import parse

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

ENTRY_POINTS = ("build_model", "build_optimizer", "augment", "loss")
"""What a task calls by name; all that a program does begins in one of these, or in code that runs on import."""


@dataclass(frozen=True)
class Block:
    """One top-level class or function, its decorators and the comment lines directly above included."""

    name: str
    """Unique in the genome: `Net`, or `pkg/b.py:Net` where the genome has several files."""
    file: str
    kind: Literal["class", "function"]
    source: str


@dataclass(frozen=True)
class Genome:
    """Source files by relative path. Raises `SyntaxError` on first use of `blocks` if a file does not parse."""

    files: Mapping[str, str]
    frozen: frozenset[str] = frozenset()
    """Names of blocks that evolution must leave alone."""
    entries: frozenset[str] = frozenset(ENTRY_POINTS)
    """What its task calls by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genome) and dict(self.files) == dict(other.files) and self.frozen == other.frozen

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.files.items())), self.frozen))

    @cached_property
    def all_blocks(self) -> tuple[Block, ...]:
        """Every block, in order of file and line."""
        several = len(self.files) > 1
        return tuple(block for path, text in self.files.items() for block in _blocks(path, text, several))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that may evolve."""
        return tuple(block for block in self.all_blocks if block.name not in self.frozen)

    @cached_property
    def live_blocks(self) -> tuple[Block, ...]:
        """The blocks that may evolve and whose change can be measured: all of them where that cannot be told."""
        live_names = reached(self.files.values(), self.entries)
        live = tuple(block for block in self.blocks if block.name.rpartition(":")[2] in live_names)
        return live or self.blocks

    def block(self, name: str) -> Block:
        """Frozen or not. Raises KeyError for an unknown name."""
        for block in self.all_blocks:
            if block.name == name:
                return block
        raise KeyError(name)

    def with_files(self, files: Mapping[str, str]) -> Genome:
        """The same genome with some files replaced."""
        return self.alike({**self.files, **files})

    def alike(self, files: Mapping[str, str]) -> Genome:
        """Other files under the same rules."""
        return Genome(files, self.frozen, self.entries)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for sources that differ only in comments, docstrings and spacing, under one version of Python."""
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            digest.update(f"{path}\0{ast.dump(without_docstrings(parse(text)))}\0".encode("utf-8", "replace"))
        return digest.hexdigest()


def read_genome(folder: Path, files: Sequence[str], frozen: Iterable[str] = ()) -> Genome:
    """The seed's genome. Raises UserError with the file and what is wrong with it."""
    texts = {}
    for name in files:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"The seed's file {name} lies outside of {folder}.")
        try:
            texts[name] = path.read_bytes().decode("utf-8")  # bytes: line endings stay as they are
            parse(texts[name])
        except FileNotFoundError:
            raise UserError(f"The seed's file {path} does not exist.") from None
        except UnicodeDecodeError:
            raise UserError(f"{path} is not UTF-8 text.") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error}.") from error
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            raise UserError(f"{path} is not valid Python: line {line}: {getattr(error, 'msg', error)}.") from None
    genome = Genome(texts, frozenset(frozen))
    unknown = genome.frozen - {block.name for block in genome.all_blocks}
    if unknown:
        raise UserError(f"{folder}: frozen names no block of the seed: {', '.join(sorted(unknown))}.")
    if not genome.blocks:
        needed = f"{', '.join(files)} needs a top-level class or function that may evolve"
        raise UserError(f"{folder} has no blocks: {needed}.")
    return genome


def diff(old: Genome, new: Genome) -> str:
    """A unified diff that `git apply` takes; empty for equal sources."""
    parts: list[str] = []
    for path in dict.fromkeys([*old.files, *new.files]):
        before, after = old.files.get(path, ""), new.files.get(path, "")
        if before == after:
            continue
        parts.append(f"diff --git a/{path} b/{path}\n")
        for line in difflib.unified_diff(source_lines(before), source_lines(after), f"a/{path}", f"b/{path}"):
            parts.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(parts)


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree, changed in place: a body that was only a docstring becomes `pass`."""
    for node in ast.walk(tree):
        if isinstance(node, (*DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@lru_cache(maxsize=256)
def meanings(text: str) -> tuple[str, ...]:
    """Of each top-level statement: equal for those that differ only in comments, docstrings and spacing."""
    return tuple(ast.dump(without_docstrings(ast.Module([node], []))) for node in parse(text).body)


def bound_names(statement: ast.stmt) -> set[str]:
    """What a top-level statement makes available under which names."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    found: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif not isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            queue += ast.iter_child_nodes(node)  # the variables of a comprehension are its own
    return found


def span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a top-level statement, from 1, decorators included."""
    decorators = node.decorator_list if isinstance(node, DEFINITIONS) else []
    return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno


def reached(
    texts: Iterable[str], entry_points: Collection[str] = ENTRY_POINTS, *, passive_values: bool = False
) -> set[str]:
    """Names that the entry points or code that runs on import lead to; empty if there is no entry point.

    Errs on the side of life: a name is the same in every file and scope, and a string or an attribute may mean it too.
    `passive_values`: giving names to values is not code that runs, such a statement counts if one of its names is reached.
    """
    binders: dict[str, list[ast.stmt]] = {}
    queue: list[ast.stmt] = []
    for statement in (statement for text in texts for statement in parse(text).body):
        for name in bound_names(statement):
            binders.setdefault(name, []).append(statement)
        # Importing a name is not using it; a decorator runs on import and may enter its class into a table.
        passive = isinstance(statement, DEFINITIONS) and not statement.decorator_list
        passive |= isinstance(statement, ast.Import | ast.ImportFrom) or (passive_values and is_value(statement))
        if not passive:
            queue.append(statement)
    entries = [name for name in entry_points if name in binders]
    found = set(entries)
    queue += [statement for name in entries for statement in binders[name]]
    while queue:
        for name in mentioned(queue.pop()) - found:
            found.add(name)
            queue += binders.get(name, ())
    return found if entries else set()


def is_value(statement: ast.stmt) -> bool:
    """Gives names to values and does nothing else: not `Gate.width = 3` nor `TABLE["x"] = 3`, which change others."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    return not any(isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store) for n in ast.walk(statement))


def mentioned(statement: ast.stmt) -> set[str]:
    """Names that a statement may mean something by, its own included."""
    found = {statement.name} if isinstance(statement, DEFINITIONS) else set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


@lru_cache(maxsize=4096)
def _blocks(path: str, text: str, several: bool) -> tuple[Block, ...]:
    lines = source_lines(text)
    found = []
    for node in parse(text).body:
        if isinstance(node, DEFINITIONS):
            first, last = span(node)
            while first > 1 and lines[first - 2].startswith("#"):
                first -= 1
            name = f"{path}:{node.name}" if several else node.name
            kind: Literal["class", "function"] = "class" if isinstance(node, ast.ClassDef) else "function"
            found.append(Block(name, path, kind, "".join(lines[first - 1 : last])))
    return tuple(found)


def source_lines(text: str) -> list[str]:
    """Lines with their ends, as Python counts them: form feeds and the like do not end a line."""
    pieces = text.split("\n")
    return [piece + "\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
