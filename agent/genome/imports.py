"""Add the imports of an answer to a file: those that the new code reads, once each, and where they belong in sorted order."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent.genome.analysis import DEFINITIONS, comment_start, parse, source_lines
from agent.genome.line_ends import prevailing_end

MAX_LINE = 88
"""Characters of a line of imports to which a name is added; a longer one gets a line of its own."""
_FUTURE, _STANDARD, _OTHERS, _RELATIVE = range(4)
"""Sections of imports, in the order in which files have them."""
_COMMON = {
    "math": "import math",
    "functools": "import functools",
    "itertools": "import itertools",
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
}
"""Imports that answers often forget, each under the name that it binds. These names can mean nothing else."""


@dataclass(frozen=True)
class Import:
    """One name that is imported: `import MODULE` or `from MODULE import NAME`, perhaps `as` another name."""

    module: str
    """With the dots of a relative import."""
    name: str = ""
    """Empty for `import MODULE`."""
    alias: str = ""

    @property
    def binds(self) -> str:
        """The name by which code reads it; `*` for all names of a module."""
        return self.alias or self.name or self.module.partition(".")[0]

    @property
    def origin(self) -> str:
        """Equal for two forms of the same import, such as `import a.b as b` and `from a import b`."""
        return f"{self.alias or self.name or self.module}={self.module}{'.' if self.name else ''}{self.name}"

    @property
    def line(self) -> str:
        end = f" as {self.alias}" if self.alias else ""
        return f"from {self.module} import {self.name}{end}" if self.name else f"import {self.module}{end}"


def imports_of(node: ast.stmt) -> Iterator[Import]:
    """The names that an import statement imports."""
    if isinstance(node, ast.Import):
        yield from (Import(one.name, "", one.asname or "") for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield from (Import(module, one.name, one.asname or "") for one in node.names)


def wanted_imports(source: str, answer: Iterable[ast.stmt], read: Collection[str], own: Collection[str]) -> list[Import]:
    """The imports of an answer that the file lacks and that its new code reads, and common ones that the answer forgot.

    `read`: the names that the new code reads; `own`: those that the file or the new code defines.
    """
    body = parse(source).body
    known = {one.origin for node in body for one in imports_of(node)}
    wanted: list[Import] = []
    for one in (one for node in answer for one in imports_of(node)):
        used = one.module == "__future__" or one.name == "*" or (one.binds in read and one.binds not in own)
        if used and one.origin not in known:
            known.add(one.origin)
            wanted.append(one)
    return wanted


def forgotten_imports(read: Collection[str], bound: Collection[str]) -> list[Import]:
    """Common imports for names that code reads and nothing binds."""
    lines = [line for name, line in _COMMON.items() if name in read and name not in bound]
    return [one for line in lines for node in parse(line).body for one in imports_of(node)]


def with_imports(source: str, imports: Iterable[Import]) -> str:
    """The file's text with the imports added."""
    for one in imports:
        source = _with_import(source, one)
    return source


class _Line(NamedTuple):
    """An import statement of the file that has its lines for itself."""

    first: int
    """Line from 1."""
    last: int
    section: int
    is_from: bool
    module: str
    node: ast.stmt


def _with_import(source: str, new: Import) -> str:
    lines = source_lines(source)
    tree = parse(source)
    header = _header(tree)
    ending = prevailing_end(lines[header[0].first - 1 : header[-1].last] if header else lines)
    if (joined := _joined_line(header, lines, new)) is not None:
        number, text = joined
        lines[number - 1] = text + ending
        return "".join(lines)
    below, blank_above, blank_below = _place(header, lines, tree, new)
    if below and not lines[below - 1].endswith("\n"):
        lines[below - 1] += ending
    lines[below:below] = [ending] * blank_above + [new.line + ending] + [ending] * blank_below
    return "".join(lines)


def _header(tree: ast.Module) -> list[_Line]:
    """The imports above the first definition."""
    found: list[_Line] = []
    for number, node in enumerate(tree.body):
        if isinstance(node, DEFINITIONS):
            break
        around = [*tree.body[max(0, number - 1) : number], *tree.body[number + 1 : number + 2]]
        last = node.end_lineno or node.lineno
        alone = all((other.end_lineno or 0) < node.lineno or other.lineno > last for other in around)
        if alone and (named := next(imports_of(node), None)):
            is_from = isinstance(node, ast.ImportFrom)
            found.append(_Line(node.lineno, last, _section(named.module), is_from, named.module, node))
    return found


def _section(module: str) -> int:
    if module == "__future__":
        return _FUTURE
    if module.startswith("."):
        return _RELATIVE
    return _STANDARD if module.partition(".")[0] in sys.stdlib_module_names else _OTHERS


def _joined_line(header: Sequence[_Line], lines: Sequence[str], new: Import) -> tuple[int, str] | None:
    """The number and the new text of a line `from m import a` that takes up the name; None if there is none."""
    if not new.name or new.alias or new.name == "*":
        return None
    for one in header:
        names = [named.name for named in imports_of(one.node)]
        plain = f"from {one.module} import {', '.join(names)}"  # no comment, no parentheses, no alias
        if one.module == new.module and one.is_from and "*" not in names and lines[one.first - 1].rstrip() == plain:
            order = next((key for key in (_by_kind, str.lower, str) if names == sorted(names, key=key)), None)
            names = sorted([*names, new.name], key=order) if order else [*names, new.name]
            text = f"from {one.module} import {', '.join(names)}"
            if len(text) <= MAX_LINE:
                return one.first, text
    return None


def _by_kind(name: str) -> tuple[int, str]:
    """The order in which isort and ruff put names: constants, classes, then functions."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2), name


def _place(header: Sequence[_Line], lines: Sequence[str], tree: ast.Module, new: Import) -> tuple[int, bool, bool]:
    """The line below which the import goes, and whether a blank line comes above it and below it."""
    section, root = _section(new.module), new.module.partition(".")[0]
    groups = _groups(header)
    if not groups:
        return _top(lines, tree)
    related = [g for g in groups if any(o.module.partition(".")[0] == root and o.section == section for o in g)]
    related = related or [g for g in groups if any(o.section == section for o in g)]
    mixed = [g for g in groups if len({o.section for o in g} - {_FUTURE}) > 1]
    if section != _FUTURE:
        related = related or mixed
    if related:
        return _below(related[0], section, new), False, False
    if later := next((g for g in groups if g[0].section > section), None):
        start = comment_start([*lines], later[0].first)  # a comment at the top of the file is not about the imports
        return (start if start > 1 else later[0].first) - 1, False, True
    return groups[-1][-1].last, True, False


def _groups(header: Sequence[_Line]) -> list[list[_Line]]:
    """Imports without a line between them."""
    groups: list[list[_Line]] = []
    for one in header:
        if groups and one.first == groups[-1][-1].last + 1:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _below(group: Sequence[_Line], section: int, new: Import) -> int:
    """The line of a group below which the import goes, in the order in which the group is sorted."""
    orders: list[Callable[[int, bool, str], tuple[object, ...]]] = [
        lambda section, is_from, module: (section, is_from, module.lower()),
        lambda section, is_from, module: (section, module.lower(), is_from),
        lambda section, is_from, module: (is_from, module.lower()),
        lambda section, is_from, module: (module.lower(), is_from),
    ]
    for order in orders:
        keys = [order(one.section, one.is_from, one.module) for one in group]
        if keys == sorted(keys):
            before = [one for one, key in zip(group, keys, strict=True) if key <= order(section, bool(new.name), new.module)]
            return before[-1].last if before else group[0].first - 1
    root = new.module.partition(".")[0]
    related = [one for one in group if one.module.partition(".")[0] == root]
    return (related or [one for one in group if one.section == section] or group)[-1].last


def _top(lines: Sequence[str], tree: ast.Module) -> tuple[int, bool, bool]:
    """As `_place`, in a file without imports: below its docstring or the comments at its beginning."""
    first = tree.body[0] if tree.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        below = first.end_lineno or 0
        return below, True, below < len(lines) and bool(lines[below].strip())
    below = 0
    while below < len(lines) and lines[below].startswith("#"):
        below += 1
    return below, below > 0, below < len(lines) and bool(lines[below].strip())
