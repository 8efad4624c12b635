"""When two changes are nearly the same."""

from __future__ import annotations

import re
from collections import Counter

from agent.memory.lesson import Lesson

NEARLY_SAME = 0.8
"""Two changes are nearly the same if they share at least this much of the words that they remove and add (Jaccard index)."""

_EXPONENT = r"(?:(?<=[\d.]e)-\d+)?"
_TOKEN = re.compile(rf"[A-Za-z_]\w*+\s*+=\s*+-?[\w.]+{_EXPONENT}|[A-Za-z_]\w*+\(-?\d[\d.]*|[A-Za-z_]\w*|\d[\w.]*{_EXPONENT}")
"""A number keeps the name that it belongs to: `lr=0.1`, `Dropout(0.1`."""
_NUMBER = re.compile(r"(?<![A-Za-z_\d])\d+(?:\.\d*)?(?:e-?\d+)?")


def nearly_same(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two changes are nearly the same, given their `changed_words`."""
    common = len(a & b)
    return common >= NEARLY_SAME * (len(a) + len(b) - common)


def changed_words(lesson: Lesson) -> frozenset[str]:
    """The words that a change removes (`-word`) and adds (`+word`), with numbers rounded to one digit.

    Words that the change keeps are left out. A lesson without a change has the words of its insight, reason or intention.
    """
    removed: Counter[str] = Counter()
    added: Counter[str] = Counter()
    lines = changed_lines(lesson.change)
    for line in lines:
        (added if line[0] == "+" else removed).update(_words(line[1:]))
    words = frozenset([*(f"-{word}" for word in removed - added), *(f"+{word}" for word in added - removed)])
    text = lesson.insight or lesson.reason or lesson.intention
    return words or frozenset(lines) or frozenset(_words(text)) or frozenset([lesson.id])


def changed_lines(change: str) -> list[str]:
    """The `-` and `+` lines of a unified diff, without empty ones and without the names of files."""
    headers = ("--- a/", "+++ b/")
    return [line for line in change.split("\n") if line[:1] in ("-", "+") and line[1:].strip() and not line.startswith(headers)]


def _words(text: str) -> list[str]:
    return [_NUMBER.sub(_rounded, "".join(word.split())) for word in _TOKEN.findall(text)]


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1g}"
