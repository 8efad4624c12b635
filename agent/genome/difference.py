"""How two genomes differ: the blocks that changed, and a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from agent.genome.analysis import source_lines
from agent.genome.genome import Block, Genome

_CONTEXT_LINES = 3

Opcode = tuple[str, int, int, int, int]
"""(tag, start and stop in the old lines, start and stop in the new lines), as `difflib` has it."""


def same_meaning(a: Block, b: Block) -> bool:
    """Whether two blocks differ at most in comments, docstrings and spacing."""
    return a.source == b.source or a.meanings == b.meanings


def changed_blocks(old: Genome, new: Genome) -> tuple[str, ...]:
    """Names of the blocks that mean something else in `new` than in `old`, then of those that only `new` has.

    Blocks that only `old` has are left out: they were removed because other blocks changed.
    """
    before = {block.name: block for block in old.all_blocks}
    changed = [b.name for b in new.all_blocks if b.name in before and not same_meaning(b, before[b.name])]
    return (*changed, *(b.name for b in new.all_blocks if b.name not in before))


def changed_names(old: Genome, new: Genome) -> tuple[str, ...]:
    """As `changed_blocks`, then the names of constants that have another value or are new."""
    before = {one.name: one.meanings for one in old.constants}
    return (*changed_blocks(old, new), *(one.name for one in new.constants if before.get(one.name) != one.meanings))


def diff(old: Genome, new: Genome) -> str:
    """A unified diff that `git apply` takes; empty for equal sources."""
    parts: list[str] = []
    for path in dict.fromkeys([*old.files, *new.files]):
        before, after = old.files.get(path, ""), new.files.get(path, "")
        if before != after:
            parts += [f"diff --git a/{path} b/{path}\n", *_unified_diff(source_lines(before), source_lines(after), path)]
    return "".join(parts)


def _unified_diff(before: Sequence[str], after: Sequence[str], path: str) -> Iterator[str]:
    """Yield the lines of one file's diff, each with its end.

    `difflib.unified_diff` is not used: it is slow on long files that are nearly equal, and it does not mark a last line
    without a line end as git does.
    """
    header = f"--- a/{path}\n+++ b/{path}\n"
    for group in _opcode_groups(before, after):
        first, last = group[0], group[-1]
        yield f"{header}@@ -{_line_range(first[1], last[2])} +{_line_range(first[3], last[4])} @@\n"
        header = ""
        for tag, old_start, old_stop, new_start, new_stop in group:
            if tag == "equal":
                yield from (_marked_line(" ", line) for line in before[old_start:old_stop])
            else:
                yield from (_marked_line("-", line) for line in before[old_start:old_stop])
                yield from (_marked_line("+", line) for line in after[new_start:new_stop])


def _opcode_groups(before: Sequence[str], after: Sequence[str]) -> Iterator[list[Opcode]]:
    """What `SequenceMatcher.get_grouped_opcodes` returns for these lines."""
    matcher = difflib.SequenceMatcher()
    matcher.opcodes = line_opcodes(before, after)  # type: ignore[attr-defined]
    return iter(matcher.get_grouped_opcodes(_CONTEXT_LINES))


def line_opcodes(before: Sequence[str], after: Sequence[str]) -> list[Opcode]:
    """What `SequenceMatcher.get_opcodes` returns, but only the lines between an equal head and an equal tail are compared."""
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    tail = next((n for n in range(shorter - head) if before[-1 - n] != after[-1 - n]), shorter - head)
    end_before, end_after = len(before) - tail, len(after) - tail
    matcher = difflib.SequenceMatcher(None, before[head:end_before], after[head:end_after])
    middle: list[Opcode] = [(tag, i + head, j + head, k + head, m + head) for tag, i, j, k, m in matcher.get_opcodes()]
    return [
        *([("equal", 0, head, 0, head)] if head else []),
        *middle,
        *([("equal", end_before, len(before), end_after, len(after))] if tail else []),
    ]


def _line_range(start: int, stop: int) -> str:
    length = stop - start
    begin = start + 1 if length else start
    return f"{begin}" if length == 1 else f"{begin},{length}"


def _marked_line(mark: str, line: str) -> str:
    return f"{mark}{line}" if line.endswith("\n") else f"{mark}{line}\n\\ No newline at end of file\n"
