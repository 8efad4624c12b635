"""What a script printed, in a few lines: its own training curve, for prompts."""

from __future__ import annotations

MOST, LONGEST = 8, 120
"""Lines that are kept, and characters of each."""


def told_lines(log: str) -> tuple[str, ...]:
    """The lines with a digit, which most curves have, at most `MOST` evenly spaced ones that end with the last. Hostile text."""
    lines = [line[:LONGEST].strip() for line in log.splitlines() if any(c.isdigit() for c in line)]
    last = len(lines) - 1
    places = range(len(lines)) if last < MOST else [round(i * last / (MOST - 1)) for i in range(MOST)]
    return tuple(lines[place] for place in places)
