"""Edits -> the file's text, by lines: every byte that no edit touches stays."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import libcst as cst

from agent.genome.facts import bound_names, span
from agent.genome.genome import source_lines
from agent.genome.order import eager_names
from agent.genome.statements import is_future, names_of, text_of
from agent.genome.syntax import parse


@dataclass(frozen=True, eq=False)
class Edit:
    """A statement of an answer, and the file's statement that it takes the place of; None for a new one."""

    statement: cst.BaseStatement
    target: ast.stmt | None


class _Place(NamedTuple):
    """Lines [start, stop) make room for what comes; at one line, the lower rank stands above."""

    start: int
    stop: int
    rank: int


_IMPORTS, _BELOW, _ABOVE, _INSTEAD = range(4)
"""Ranks: imports; a new statement that belongs below what is above it, or above what is below it; a replacement."""


def spliced(source: str, edits: Sequence[Edit], imports: Sequence[cst.BaseStatement]) -> str:
    """Replaced statements in their places, new ones as near as the answer has them, imports below those of the file's head.

    A new statement stands above the next one of the answer that has a place in the file, else below the last one that
    has; but never above what it reads while the file is imported.
    """
    lines, tree = source_lines(source), parse(source)
    pieces: defaultdict[_Place, str] = defaultdict(str)
    bound = {name: _Place(span(node)[1], span(node)[1], _BELOW) for node in tree.body for name in bound_names(node)}
    for number, edit in enumerate(edits):
        if edit.target is not None:
            first, last = span(edit.target)
            plain = edit.statement.with_changes(leading_lines=[])
            pieces[_Place(first - 1, last, _INSTEAD)] += text_of(plain) + "\n"
        else:
            text = text_of(edit.statement)
            read = {name for node in parse(text).body for name in eager_names(node)}
            place = max([_place(lines, edits, number), *(bound[name] for name in read if name in bound)])
            bound |= dict.fromkeys(names_of(edit.statement), place)
            pieces[place] += f"\n\n{text}\n" if place.rank == _BELOW else f"{text}\n\n\n"
    future, plain_line = _import_lines(tree)
    for statement in imports:
        line = future if is_future(statement) else plain_line
        pieces[_Place(line, line, _IMPORTS)] += f"{text_of(statement)}\n"
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    # From the bottom up, so that the line numbers above stay true.
    for place, text in sorted(pieces.items(), reverse=True):
        cut = place.start == len(lines) and lines and not lines[-1].endswith("\n")
        fresh = ("\n" if cut else "") + text
        lines[place.start : place.stop] = [fresh.replace("\r\n", "\n").replace("\n", ending)]
    return "".join(lines)


def _place(lines: Sequence[str], edits: Sequence[Edit], number: int) -> _Place:
    """Where a new statement goes if nothing it reads stands further down."""
    if later := [edit.target for edit in edits[number + 1 :] if edit.target is not None]:
        first = span(later[0])[0] - 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        return _Place(first, first, _ABOVE)
    earlier = [edit.target for edit in edits[:number] if edit.target is not None]
    last = span(earlier[-1])[1] if earlier else len(lines)
    return _Place(last, last, _BELOW)


def _import_lines(tree: ast.Module) -> tuple[int, int]:
    """Below which line new `__future__` imports and new plain imports go."""
    future = plain = 0
    for position, node in enumerate(tree.body):
        docstring = position == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            future = plain = node.end_lineno or 0
        elif isinstance(node, ast.Import | ast.ImportFrom):
            plain = node.end_lineno or 0
    return future, plain
