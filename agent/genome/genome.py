"""A genome: an immutable set of source files seen as named blocks. Reading needs only `ast`; editing is in `editor`."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Block:
    """One top-level class or function, decorators and its own leading comments included."""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that may evolve, in order of file and line."""
        raise NotImplementedError

    def block(self, name: str) -> Block:
        """Raises KeyError for an unknown name."""
        return next(b for b in self.blocks if b.name == name)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for sources that differ only in comments, docstrings, spacing."""
        digest = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + ast.dump(ast.parse(text)).encode() + b"\0")
        return digest.hexdigest()
