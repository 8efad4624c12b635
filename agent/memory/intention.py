"""Read what an answer says about its change: the lines `Intention: ...` and `Expected effect: ...` above its code."""

from __future__ import annotations

import re

from agent.core.text import one_line

INTENTION_LIMIT = 400
"""Characters that are kept of the intention, and of the expected effect."""
_ANSWER_LIMIT = 200_000
"""Characters of an answer that are read."""

_LABEL = re.compile(
    r"[\s>#*_`|\-+\u2022\d.)(]{0,24}(?P<label>intent(?:ion)?s?|expected\s+effects?)(?![A-Za-z])(?:\s?\([^)]{0,80}\))?"
    r"[\s*_`]{0,8}(?:$|[:\uff1a=|\u2013\u2014]|(?<=\s)-\s)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(r"(?<![A-Za-z])expected\s+effects?[\s*_`]{0,8}[:\uff1a]", re.IGNORECASE)
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})(.*)", re.DOTALL)


def read_intention(answer: str) -> tuple[str, str]:
    """The intention and the expected effect, each one clean line of at most `INTENTION_LIMIT` characters; empty where missing.

    Each ends before the other one, a fence or a heading. If there are several, the last one above the answer's last fence
    is taken, because models think aloud first. Text inside fences is code and is ignored.
    """
    stated = _labelled_texts(answer[:_ANSWER_LIMIT])
    intention, effect = stated["intention"], stated["effect"]
    if not effect and (both := _INLINE.search(intention)):
        intention, effect = intention[: both.start()].rstrip(" \t\n*_("), intention[both.end() :]
    return _line(intention), _line(effect)


def _labelled_texts(text: str) -> dict[str, str]:
    """The texts behind the labels of an intention and of an expected effect, the best one of each."""
    found: dict[str, list[tuple[int, list[str]]]] = {"intention": [], "effect": []}
    current: list[str] | None = None
    opened, fences = "", 0
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if opened:
            # A fence is closed by at least as many of the same marks, with nothing behind them.
            if mark and mark[1].startswith(opened) and not mark[2].strip():
                opened = ""
        elif mark:
            opened, current, fences = mark[1], None, fences + 1
        elif label := _LABEL.match(line):
            current = [label["rest"]]
            found["effect" if label["label"][0] in "eE" else "intention"].append((fences, current))
        elif line.startswith("#"):
            current = None
        elif current is not None:
            current.append(line)
    return {name: _best(each, fences) for name, each in found.items()}


def _best(entries: list[tuple[int, list[str]]], fences: int) -> str:
    """The last text that is not empty above the last of the fences, else the first one. Entries: (fences before it, lines)."""
    texts = [(before < fences, text) for before, lines in entries if (text := "\n".join(lines)).strip(" \n*_`")]
    above = [text for is_above, text in texts if is_above]
    return above[-1] if above else texts[0][1] if texts else ""


def _line(text: str) -> str:
    return one_line(text.strip(" \t\n*_`|"), INTENTION_LIMIT).strip("*_ ")
