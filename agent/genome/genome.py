"""A genome: an immutable set of source files seen as named blocks. Reading it needs only `ast`; `Editor` changes it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from agent.core.errors import UserError
from agent.genome.analysis import (
    DEFINITIONS,
    DOCSTRING_MEANING,
    ENTRY_POINTS,
    comment_start,
    line_span,
    meanings,
    parse,
    reachable_names,
    source_lines,
)
from agent.genome.constants import CONSTANTS, constant_sources
from agent.genome.decoding import UnreadableSource, check, decode

_FINGERPRINT_PREFIX = f"{sys.version_info[0]}.{sys.version_info[1]}-"
"""Python's version: fingerprints of two versions cannot be compared."""

BlockKind = Literal["class", "function", "constant", "constants"]
"""`constant`: an assignment at the top level; `constants`: all of a file together."""


@dataclass(frozen=True)
class Block:
    """One top-level class or function, or constants, with its decorators and the comment lines directly above it."""

    name: str
    """Unique in the genome: `Net`, or `pkg/b.py:Net` where the genome has several files."""
    file: str
    kind: BlockKind
    source: str

    @classmethod
    def with_meanings(cls, name: str, file: str, kind: BlockKind, source: str, *, meanings: tuple[str, ...]) -> Block:
        """A block whose `meanings` were computed by another process, so that they need not be computed again."""
        block = cls(name, file, kind, source)
        vars(block)["meanings"] = meanings
        return block

    @cached_property
    def meanings(self) -> tuple[str, ...]:
        """Equal for blocks that differ only in comments, docstrings and spacing."""
        return meanings(self.source)


@dataclass(frozen=True)
class Genome:
    """Source files by relative path. Raises SyntaxError on first use of `blocks` if a file does not parse."""

    files: Mapping[str, str]
    frozen: frozenset[str] = frozenset()
    """Names of the blocks, constants and methods (`Net.validation_step`) that evolution must leave alone."""
    entry_points: frozenset[str] = frozenset(ENTRY_POINTS)
    """Names of the functions that the task calls."""

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
        """The classes and functions that may evolve; one whose name is defined twice may not: which is meant is not clear."""
        counts = Counter(block.name for block in self.all_blocks)
        return tuple(block for block in self.all_blocks if block.name not in self.frozen and counts[block.name] == 1)

    @cached_property
    def method_names(self) -> frozenset[str]:
        """`Net.forward` for each method of each top-level class: such a name can be frozen, while its class evolves."""
        several = len(self.files) > 1
        classes = ((path, n) for path, text in self.files.items() for n in parse(text).body if isinstance(n, ast.ClassDef))
        return frozenset(block_name(path, f"{one.name}.{n.name}", several) for path, one in classes for n in methods_of(one))

    @property
    def frozen_methods(self) -> frozenset[str]:
        """Those of `frozen` that are names of methods."""
        return frozenset(name for name in self.frozen if "." in bare_name(name))

    @cached_property
    def constants(self) -> tuple[Block, ...]:
        """Each module-level constant, in order of file and line. They are no part of `all_blocks`."""
        several = len(self.files) > 1
        return tuple(
            Block(block_name(path, name, several), path, "constant", source)
            for path, text in self.files.items()
            for name, source in constant_sources(text)
        )

    @cached_property
    def constant_groups(self) -> tuple[Block, ...]:
        """For each file the constants that may evolve as one block; none where the program itself uses that block's name."""
        groups = []
        for path in self.files:
            own = [one for one in self.constants if one.file == path and one.name not in self.frozen]
            name = block_name(path, CONSTANTS, len(self.files) > 1)
            taken = name in self.frozen or any(block.name == name for block in (*self.all_blocks, *self.constants))
            if own and not taken:
                groups.append(Block(name, path, "constants", "".join(f"{one.source.rstrip(chr(10))}\n" for one in own)))
        return tuple(groups)

    @cached_property
    def live_names(self) -> frozenset[str]:
        """Names of all blocks reachable from an entry point or from code that runs on import; empty without entry points."""
        names = reachable_names(self.files.values(), self.entry_points)
        return frozenset(block.name for block in self.all_blocks if bare_name(block.name) in names)

    @cached_property
    def called_names(self) -> frozenset[str]:
        """Names reachable from an entry point or from code that runs on import, where being decorated counts as neither."""
        return frozenset(reachable_names(self.files.values(), self.entry_points, decorated_is_passive=True))

    @cached_property
    def live_blocks(self) -> tuple[Block, ...]:
        """The blocks that may evolve and are reachable, so that a change shows; all that may evolve if none is reachable."""
        return tuple(block for block in self.blocks if block.name in self.live_names) or self.blocks

    def block(self, name: str) -> Block:
        """The block of this name, frozen or not, constants too. Raises KeyError for an unknown name."""
        for block in (*self.all_blocks, *self.constants, *self.constant_groups):
            if block.name == name:
                return block
        raise KeyError(name)

    def with_same_rules(self, files: Mapping[str, str]) -> Genome:
        """A genome of other files with the same frozen blocks and entry points."""
        return Genome(files, self.frozen, self.entry_points)

    def with_precomputed(self, files: Mapping[str, str], fingerprint: str, **properties: object) -> Genome:
        """Like `with_same_rules`, with a fingerprint, and perhaps other cached properties, that were computed elsewhere."""
        genome = self.with_same_rules(files)
        vars(genome).update(properties)
        if fingerprint.startswith(_FINGERPRINT_PREFIX):
            vars(genome)["fingerprint"] = fingerprint
        return genome

    @cached_property
    def fingerprint(self) -> str:
        """Equal for sources that differ only in comments, docstrings and spacing, under one version of Python."""
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            parts = "\0".join(meaning for meaning in meanings(text) if meaning != DOCSTRING_MEANING)
            digest.update(f"{path}\0{parts}\n".encode("utf-8", "replace"))
        return _FINGERPRINT_PREFIX + digest.hexdigest()


def block_name(path: str, name: str, several: bool) -> str:
    """The name of a block of the file `path`. `several`: whether the genome has several files, so that names need the path."""
    return f"{path}:{name}" if several else name


def methods_of(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def bare_name(name: str) -> str:
    """The name of a block as its code has it: `pkg/b.py:Net` -> `Net`."""
    return name.rpartition(":")[2]


def read_genome(folder: Path, files: Sequence[str], frozen: Iterable[str] = ()) -> Genome:
    """Read a seed's genome from its folder. Raises UserError that names the file and what is wrong with it."""
    genome = Genome({name: _read_source(folder, name) for name in files}, frozenset(frozen))
    groups = {block_name(path, CONSTANTS, len(genome.files) > 1) for path in genome.files}
    known = {block.name for block in (*genome.all_blocks, *genome.constants)} | genome.method_names
    unknown = genome.frozen - known - groups
    if unknown:
        raise UserError(f"{folder}: frozen names no block of the seed: {', '.join(sorted(unknown))}.")
    if not genome.blocks and not genome.constant_groups:
        needed = f"{', '.join(files)} needs a top-level class, function or constant that may evolve"
        raise UserError(f"{folder} has no blocks: {needed}.")
    return genome


def _read_source(folder: Path, name: str) -> str:
    """Read one file and check that it parses."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"The seed's file {name} lies outside of {folder}.")
    try:
        text = decode(path.read_bytes())
        check(text)
    except FileNotFoundError:
        raise UserError(f"The seed's file {path} does not exist.") from None
    except UnreadableSource as error:
        raise UserError(f"{path} {error}.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    return text


@lru_cache(maxsize=256)
def _blocks(path: str, text: str, several: bool) -> tuple[Block, ...]:
    """The blocks of one file. `several`: see `block_name`."""
    lines = source_lines(text)
    blocks = []
    for node in parse(text).body:
        if isinstance(node, DEFINITIONS):
            first, last = line_span(node)
            name = block_name(path, node.name, several)
            kind: BlockKind = "class" if isinstance(node, ast.ClassDef) else "function"
            source = "".join(lines[comment_start(lines, first) - 1 : last])
            blocks.append(Block(name, path, kind, source))
    return tuple(blocks)
