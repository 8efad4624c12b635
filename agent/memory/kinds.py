"""Which kinds of layers (or optimisers, schedules, functionals) a piece of source names: `Conv2d`, `SGD`, `silu`."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection
from functools import lru_cache

from agent.genome import line_opcodes, parse

MAX_KINDS = 12
"""The most kinds that are listed: a change of everything is not about any kind in particular."""
MAX_LINES = 3_000
"""Texts with more lines are not compared: it may take very long."""
_CONTAINERS = {"Module", "ModuleDict", "ModuleList", "Sequential", "Tensor"}
_FUNCTIONALS = {"F", "functional"}


def kinds_in(source: str, lines: Collection[int] | None = None) -> tuple[str, ...]:
    """The kinds named in Python source, each once, in order: in all of it, or on the given lines (counted from 1).

    A line that names no kind counts for the call around it. Source that does not parse has none.
    """
    named, spans = _find_kinds(source)
    if lines is None:
        return tuple(dict.fromkeys(kind for _, _, kind in named))[:MAX_KINDS]
    wanted = sorted(lines)[:MAX_LINES]
    on_lines = {line for line, _, _ in named}
    found = [(line, column, kind) for line, column, kind in named if line in lines]
    for line in wanted:
        around = [span for span in spans if span[0] <= line <= span[1]] if line not in on_lines else []
        found += [(line, 0, kind) for _, _, kind in around[-1:]]
    return tuple(dict.fromkeys(kind for _, _, kind in sorted(found)))[:MAX_KINDS]


@lru_cache(maxsize=1024)
def _find_kinds(source: str) -> tuple[list[tuple[int, int, str]], list[tuple[int, int, str]]]:
    """(line, column, kind) of each kind that is named, and (first line, last line, kind) of calls over several lines."""
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [], []
    named: list[tuple[int, int, str]] = []
    spans: list[tuple[int, int, str]] = []
    for node in ast.walk(tree):
        place = node.func if isinstance(node, ast.Call) else node
        if isinstance(place, ast.Name | ast.Attribute) and (kind := _kind(place, called=place is not node)):
            named.append((place.end_lineno or 0, place.end_col_offset or 0, kind))
            if isinstance(node, ast.Call) and node.end_lineno != node.lineno:
                spans.append((node.lineno, node.end_lineno or 0, kind))
    return sorted(named), sorted(spans)[:100]


def kinds_changed(old: str, new: str) -> tuple[str, ...]:
    """The kinds on the lines in which two versions of a block differ, those of the new version first."""
    before, after = old.split("\n"), new.split("\n")
    if len(before) > MAX_LINES or len(after) > MAX_LINES:
        return ()
    removed: set[int] = set()
    added: set[int] = set()
    for tag, old_start, old_stop, new_start, new_stop in line_opcodes(before, after):
        if tag != "equal":
            removed.update(range(old_start + 1, old_stop + 1))
            added.update(range(new_start + 1, new_stop + 1))
    return tuple(dict.fromkeys([*kinds_in(new, added), *kinds_in(old, removed)]))[:MAX_KINDS]


def _kind(place: ast.Name | ast.Attribute, *, called: bool) -> str | None:
    """The kind that a name stands for, or None: `nn.Conv2d`, called or not; `SGD(...)`; `F.silu(...)`."""
    name = place.id if isinstance(place, ast.Name) else place.attr
    owner = place.value if isinstance(place, ast.Attribute) else None
    root = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    if name in _CONTAINERS or (owner is None and hasattr(builtins, name)):
        return None
    if name[0].isupper() and (called or root == "nn"):
        return name
    return name if called and root in _FUNCTIONALS else None
