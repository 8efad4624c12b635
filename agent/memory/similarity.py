"""When two changes are nearly the same."""

from __future__ import annotations

import re
from collections import Counter

from agent.memory.lesson import Lesson

ALIKE = 0.8
"""Two changes are nearly the same if they share this much of what they take away and bring (Jaccard)."""

_EXPONENT = r"(?:(?<=[\d.]e)-\d+)?"
_TOKEN = re.compile(
    rf"[A-Za-z_]\w*+\s*+=\s*+-?[\w.]+{_EXPONENT}|[A-Za-z_]\w*+\(-?\d[\d.]*|[A-Za-z_]\w*|\d[\w.]*{_EXPONENT}"
)
"""A number keeps the name that it belongs to: `lr=0.1`, `Dropout(0.1`."""
_NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(?:\.\d*)?(?:e-?\d+)?")


def alike(a: frozenset[str], b: frozenset[str]) -> bool:
    common = len(a & b)
    return common >= ALIKE * (len(a) + len(b) - common)


def moves(lesson: Lesson) -> frozenset[str]:
    """What a change takes away and brings, without what stays around it; numbers to one digit. Without a change: its words."""
    went: Counter[str] = Counter()
    came: Counter[str] = Counter()
    lines = change_lines(lesson.change)
    for line in lines:
        (came if line[0] == "+" else went).update(_words(line[1:]))
    moved = frozenset([*(f"-{word}" for word in went - came), *(f"+{word}" for word in came - went)])
    said = lesson.insight or lesson.reason or lesson.intention
    return moved or frozenset(lines) or frozenset(_words(said)) or frozenset([lesson.id])


def change_lines(change: str) -> list[str]:
    """The `-` and `+` lines of a unified diff that hold something, without the names of files."""
    named = ("--- a/", "+++ b/")
    return [line for line in change.split("\n") if line[:1] in ("-", "+") and line[1:].strip() and not line.startswith(named)]


def _words(text: str) -> list[str]:
    return [_NUMBER.sub(_rounded, "".join(word.split())) for word in _TOKEN.findall(text)]


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1g}"
