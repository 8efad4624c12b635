"""A genome: an immutable set of source files seen as named blocks. Reading needs only `ast`; editing is in `editor`."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from agent.core.errors import UserError
from agent.genome.difference import unified
from agent.genome.facts import DEFINITIONS, ENTRY_POINTS, NOTHING, facts, meanings, reached, span
from agent.genome.syntax import parse

_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}-"
"""Of Python: another one's fingerprints are not comparable."""


@dataclass(frozen=True)
class Block:
    """One top-level class or function, its decorators and the comment lines directly above included."""

    name: str
    """Unique in the genome: `Net`, or `pkg/b.py:Net` where the genome has several files."""
    file: str
    kind: Literal["class", "function"]
    source: str

    @classmethod
    def known(cls, name: str, file: str, kind: Literal["class", "function"], source: str, **worked_out: object) -> Block:
        """One of which another process worked out the `meanings`."""
        block = cls(name, file, kind, source)
        vars(block).update(worked_out)
        return block

    @cached_property
    def meanings(self) -> tuple[str, ...]:
        """Equal for blocks that differ only in comments, docstrings and spacing."""
        return meanings(self.source)


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
    def live_names(self) -> frozenset[str]:
        """Of all blocks, those that an entry point or code that runs on import leads to; none if there is no entry point."""
        names = reached(self.files.values(), self.entries)
        return frozenset(block.name for block in self.all_blocks if block.name.rpartition(":")[2] in names)

    @cached_property
    def live_blocks(self) -> tuple[Block, ...]:
        """The blocks that may evolve and whose change can be measured: all of them where that cannot be told."""
        return tuple(block for block in self.blocks if block.name in self.live_names) or self.blocks

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

    def known(self, files: Mapping[str, str], fingerprint: str, **worked_out: object) -> Genome:
        """As `alike`; another process worked out the fingerprint, and perhaps `all_blocks` and `live_names`."""
        genome = self.alike(files)
        vars(genome).update(worked_out)
        if fingerprint.startswith(_VERSION):
            vars(genome)["fingerprint"] = fingerprint
        return genome

    @cached_property
    def fingerprint(self) -> str:
        """Equal for sources that differ only in comments, docstrings and spacing, under one version of Python."""
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            parts = "\0".join(one.meaning for one in facts(text) if one.meaning != NOTHING)
            digest.update(f"{path}\0{parts}\n".encode("utf-8", "replace"))
        return _VERSION + digest.hexdigest()


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
        parts += [f"diff --git a/{path} b/{path}\n", *unified(source_lines(before), source_lines(after), path)]
    return "".join(parts)


@lru_cache(maxsize=256)
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
