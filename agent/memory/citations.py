"""Which earlier candidates and lessons an answer names: those that it says it builds on, or avoids."""

from __future__ import annotations

import re

_ANSWER_LIMIT = 200_000
"""Characters of an answer that are read."""
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})(.*)", re.DOTALL)
_ID = re.compile(
    r"(?<![\w.,])(?:(?P<padded>0\d{3})|(?:[`#]|(?:candidate|child|lesson|parent)s?\s)(?P<marked>\d{4,})|`?(?P<insight>insight-\d+))"
    r"(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)
"""`0007` anywhere in a text: no other number but a decimal begins with a zero. An id that could be any number, such as 1024,
counts only behind a mark or a word that announces it."""


def cited_ids(answer: str, own: str) -> tuple[str, ...]:
    """The ids in the text of an answer, each once, in the order in which it names them. Text inside fences is code and ignored.

    `own`: the id of the candidate that the answer is for; no later candidate can be meant.
    """
    found: dict[str, None] = {}
    for line in _outside_fences(answer[:_ANSWER_LIMIT]):
        for match in _ID.finditer(line):
            id = match["padded"] or match["marked"] or match["insight"].lower()
            if match["insight"] or (len(id), id) < (len(own), own):
                found[id] = None
    return tuple(found)


def _outside_fences(text: str) -> list[str]:
    lines: list[str] = []
    opened = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if opened:
            if mark and mark[1].startswith(opened) and not mark[2].strip():
                opened = ""
        elif mark:
            opened = mark[1]
        else:
            lines.append(line)
    return lines
