"""A unified diff of two programs, made for texts that agree in nearly everything."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

_CONTEXT = 3


def unified(before: Sequence[str], after: Sequence[str], path: str) -> Iterator[str]:
    """The lines of the diff as `git apply` takes them, each with its end. `before`, `after`: lines with their ends."""
    head = f"--- a/{path}\n+++ b/{path}\n"
    for group in _groups(before, after):
        first, last = group[0], group[-1]
        yield f"{head}@@ -{_span(first[1], last[2])} +{_span(first[3], last[4])} @@\n"
        head = ""
        for tag, i, j, k, m in group:
            if tag == "equal":
                yield from (_line(" ", line) for line in before[i:j])
            else:
                yield from (_line("-", line) for line in before[i:j])
                yield from (_line("+", line) for line in after[k:m])


def _groups(before: Sequence[str], after: Sequence[str]) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """As of `SequenceMatcher`, which compares only what lies between the lines that are the same at both ends."""
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    tail = next((n for n in range(shorter - head) if before[-1 - n] != after[-1 - n]), shorter - head)
    end_before, end_after = len(before) - tail, len(after) - tail
    matcher = difflib.SequenceMatcher(None, before[head:end_before], after[head:end_after])
    inner = [(tag, i + head, j + head, k + head, m + head) for tag, i, j, k, m in matcher.get_opcodes()]
    ends = [("equal", 0, head, 0, head)] if head else []
    matcher.opcodes = [  # type: ignore[attr-defined]
        *ends,
        *inner,
        *([("equal", end_before, len(before), end_after, len(after))] if tail else []),
    ]
    return iter(matcher.get_grouped_opcodes(_CONTEXT))


def _span(start: int, stop: int) -> str:
    length = stop - start
    begin = start + 1 if length else start
    return f"{begin}" if length == 1 else f"{begin},{length}"


def _line(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
