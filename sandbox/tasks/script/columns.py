"""Reads a metric from a table whose header names it: the column's value in the last row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from sandbox.tasks.script.numbers import BARS, NUMBER, Unclear, read_number

_RULE = re.compile(r"[\s\-=+|:_\u2500-\u257f\u2501]*")
"""A line that only separates."""
_HEADERS = 20
"""The most lines with the name that are tried as headers, newest first: the output is hostile, and each try costs."""
_LONGEST = 100
"""Characters of a cell that may be a number."""
_TIMES = frozenset({"epoch", "epochs", "step", "steps", "iter", "iteration", "round", "generation", "ep", "global_step"})
"""First columns that count: the last row of such a table is the newest. Other tables have one row for each of several things."""


def column_reading(lines: Sequence[str], name: str) -> float | None:
    """Return the value below the header `name` in the last row of the last table that has it; None without such a table.

    Raises Unclear if the cell is no number, or if its table does not say which of its rows is the newest.
    """
    wanted = _plain(name)
    with_name = re.compile(r"[\s_-]".join(map(re.escape, wanted.split("_"))), re.IGNORECASE)
    numbers = (number for number in range(len(lines) - 1, -1, -1) if with_name.search(lines[number]))
    for number in islice(numbers, _HEADERS):
        header: list[str] = []
        rows: list[list[str]] = []
        for split in _SPLITS:  # the one that finds the most rows
            cells = split(lines[number])
            if [_plain(cell) for cell in cells].count(wanted) == 1 and len(cells) > 1 and not any(map(_is_number, cells)):
                found = _rows(islice(lines, number + 1, None), split, len(cells))
                header, rows = (cells, found) if len(found) > len(rows) else (header, rows)
        if rows:
            return _last(header, rows, [_plain(cell) for cell in header].index(wanted))
    return None


def _rows(lines: Iterable[str], split: Callable[[str], list[str]], columns: int) -> list[list[str]]:
    """The rows directly below a header, without an index that pandas prints before them."""
    rows: list[list[str]] = []
    for line in lines:
        if _RULE.fullmatch(line):
            if not line.strip() and rows:
                break
            continue
        cells = split(line)
        if len(cells) == columns + 1 and cells[0].isdigit():
            cells = cells[1:]
        if len(cells) != columns:
            break
        rows.append(cells)
    return rows


def _last(header: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> float:
    line = "  ".join(rows[-1])[:120]
    if len(rows) > 1 and _plain(header[0]) not in _TIMES:
        raise Unclear(line)
    value = read_number(rows[-1][column])
    if value is None:
        raise Unclear(line)
    return value


def _is_number(cell: str) -> bool:
    return len(cell) <= _LONGEST and re.fullmatch(NUMBER, cell) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _by_bars(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(rf"[{BARS}]", line.strip().strip(BARS))]


def _by(pattern: str) -> Callable[[str], list[str]]:
    return lambda line: [cell.strip() for cell in re.split(pattern, line.strip())]


_SPLITS = (_by_bars, _by(r"\t"), _by(","), _by(r" {2,}"), _by(r"\s+"))
