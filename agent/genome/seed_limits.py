"""Limits on answers that a seed breaks itself: each is told at the start, and judged only for what an answer adds."""

from __future__ import annotations

from agent.genome.extraction import MAX_CHARACTERS, MAX_LINE, longest_line
from agent.genome.genome import Genome
from agent.genome.static_checks import early_reads, failing_calls, imported_packages, names_are_open, undefined_names

_SHOWN = 6


def broken_limits(genome: Genome) -> list[str]:
    """One clause for each limit or rule that the files break."""
    found = []
    total = sum(map(len, genome.files.values()))
    for path, text in genome.files.items():
        if len(text) > MAX_CHARACTERS:
            found.append(f"{path} has {len(text):,} characters, and {MAX_CHARACTERS:,} is the limit")
        if (longest := longest_line(text)) > MAX_LINE:
            number = next(n for n, line in enumerate(text.split("\n"), 1) if len(line) == longest)
            found.append(f"line {number} of {path} has {longest:,} characters, and {MAX_LINE:,} is the limit")
        if (names := undefined_names(text)) and not names_are_open(text):
            found.append(f"{path} reads {_listed(names)}, which nothing in it binds")
        if "*" in imported_packages(text):
            found.append(f"{path} has star imports, so that no undefined name is seen")
        found += [f"{path}: {reader} reads {name} on import before it is bound" for reader, name in sorted(early_reads(text))]
    if total > MAX_CHARACTERS and len(genome.files) > 1:
        found.append(f"the files have {total:,} characters together, and {MAX_CHARACTERS:,} is the limit")
    calls = sorted(failing_calls(genome.files))
    found += [f"{caller} calls {call[:80]}, which does not fit ({why})" for caller, call, why in calls]
    return found[:_SHOWN] + ([f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
