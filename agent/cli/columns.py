"""Tables of plain text that fit a width: unimportant columns are left out, facts are wrapped and never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_GAP = "  "
_LEAST = 24
"""Characters below which a flexible column is not squeezed while another one can be left out."""
_INDENT = "    "
NO_BREAK = "\u00a0"
"""A blank at which no cell is wrapped; it is shown as an ordinary one."""


@dataclass(frozen=True)
class Column:
    """One column; all columns of a table have as many cells."""

    title: str
    cells: Sequence[str]
    rank: int = 0
    """The column of the highest rank is left out first; 0 is never left out."""
    right: bool = False
    """Whether it is set flush right."""
    flexible: bool = False
    """Takes the width that is left, and is wrapped where that is too little. It has to be the last column of a table."""
    cuts: bool = False
    """A flexible column whose text is cut instead: it is worth one line only."""

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))

    @property
    def least(self) -> int:
        """The narrowest that it may become before another column is left out."""
        return min(self.width, _LEAST) if self.flexible else self.width


def table_rows(columns: Sequence[Column], width: int) -> Iterator[list[str]]:
    """Yield the lines of the head, then those of each row, none of them longer than `width` where words allow it."""
    kept = _fitting(columns, width)
    if least_width(kept) > width:
        yield from _stacked(kept, width)
        return
    fixed = [column for column in kept if not column.flexible]
    widths = [column.width for column in fixed]
    used = sum(widths) + len(_GAP) * len(widths)
    for row in range(-1, len(kept[0].cells)):
        cells = [column.title if row < 0 else column.cells[row] for column in kept]
        parts = [
            cell.rjust(size) if column.right else cell.ljust(size)
            for column, cell, size in zip(fixed, cells, widths, strict=False)
        ]
        if len(fixed) == len(kept):
            yield [_GAP.join(parts).rstrip()]
        else:
            first, *rest = _fitted(cells[-1], max(width - used, 1), cuts=kept[-1].cuts)
            yield [_GAP.join([*parts, first]).rstrip(), *(" " * used + line for line in rest)]


def least_width(columns: Sequence[Column]) -> int:
    """The width of all columns together, the flexible ones squeezed."""
    return sum(column.least for column in columns) + len(_GAP) * (len(columns) - 1)


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that are shown: those of the highest rank are left out until the rest has its least width."""
    kept = [column for column in columns if any(column.cells) or not column.rank]
    while least_width(kept) > width:
        last = max(kept, key=lambda column: column.rank)
        if not last.rank:
            break
        kept.remove(last)
    return kept


def _stacked(columns: Sequence[Column], width: int) -> Iterator[list[str]]:
    """Each row on several lines, without a head: the first column alone, below it the others with their titles."""
    yield []
    for row in range(len(columns[0].cells)):
        lines = [columns[0].cells[row].strip()]
        for column in columns[1:]:
            if text := column.cells[row].strip():
                named = f"{column.title}: {text}" if column.title else text
                lines += _fitted(named, max(width - len(_INDENT), 1), cuts=column.cuts, indent=_INDENT)
        yield lines


def _fitted(text: str, width: int, *, cuts: bool, indent: str = "") -> list[str]:
    if len(text) <= width:
        return [indent + text.replace(NO_BREAK, " ")]
    if cuts:
        return [indent + text[: width - 1].rstrip() + "…"]
    lines = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    return [indent + line.replace(NO_BREAK, " ") for line in lines]
