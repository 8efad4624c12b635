"""The installed packages that a candidate can read: an allow-list, since any other may ship data with its labels.

On it are what the stages themselves need, and what a seed's own files import, each with all that it requires. A package that is
not on it looks as if it were not installed; of the allowed ones, folders that are known to hold labelled data stay closed.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from sandbox.isolation.parsing import parse

BASE = ("torch", "numpy", "safetensors")
"""The distributions that the stages need."""


def closed_in(tree: str, keep: Collection[str]) -> list[str]:
    """Return the paths in a folder of installed packages that no candidate can read.

    `keep`: paths that stay open, such as the package of this project, whatever folder they lie in.
    """
    found = []
    for name in sorted(os.listdir(tree)):
        path = f"{tree}/{name}"
        if name in allowed() or path in keep:
            continue
        inner = [one for one in keep if one.startswith(f"{path}/")]
        found += closed_in_all_but(path, inner) if inner else [path]
    return found


def closed_in_all_but(folder: str, keep: Collection[str]) -> list[str]:
    """Return what of a folder is closed if only `keep`, paths in it, is open."""
    return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if f"{folder}/{name}" not in keep]


@cache
def allowed() -> frozenset[str]:
    """Return the names, in a folder of installed packages, of what `BASE` consists of and requires."""
    return (frozenset(_names_of(BASE)) | frozenset(BASE)) - {"__pycache__"}


def imported_by(sources: Mapping[str, str]) -> frozenset[str]:
    """Return the top-level modules that the sources import, except those of the standard library and the sources themselves."""
    names: set[str] = set()
    for text in sources.values():
        try:
            nodes = list(ast.walk(parse(text)))
        except (SyntaxError, ValueError, RecursionError):
            continue
        names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    own = {path.removesuffix(".py").split("/")[0] for path in sources}
    return frozenset(name.partition(".")[0] for name in names) - sys.stdlib_module_names - own


def needed_by(modules: Collection[str]) -> frozenset[str]:
    """Return the names, in folders of installed packages, of these modules and all that they require, except allowed ones."""
    wanted = set(modules) - allowed()
    if not wanted:
        return frozenset()
    by_module = metadata.packages_distributions()
    distributions = {name for module in wanted for name in by_module.get(module, ())}
    return (frozenset(_names_of(distributions)) | wanted) - allowed() - {"__pycache__"}


def _names_of(distributions: Iterable[str]) -> Iterator[str]:
    """Yield the first parts of the paths of these distributions' files, and of all that they require."""
    waiting, seen = list(distributions), set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        required = (text for text in found.requires or () if "extra" not in text.partition(";")[2])
        waiting += [match[0] for text in required if (match := re.match(r"[\w.-]+", text))]
        lines = (found.read_text("RECORD") or found.read_text("installed-files.txt") or "").splitlines()
        paths = (line.partition(",")[0].strip('"') for line in lines if not line.startswith("../../"))
        yield from {path.lstrip("./").split("/")[0] for path in paths}
        yield from (found.read_text("top_level.txt") or "").split()


def read_sources(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """Return the texts of a seed's files; those that cannot be read are left out, and found missing by whoever needs them."""
    found = {}
    for name in files:
        try:
            found[name] = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return found
