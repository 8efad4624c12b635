"""What an answer says of itself: the two lines `Intention: ...` and `Expected effect: ...` above its code."""

from __future__ import annotations

import re

from agent.core.text import clean

LIMIT = 400
"""Characters that are kept of each."""
_READ = 200_000
"""Characters of an answer that are looked at."""

_LABEL = re.compile(
    r"[\s>#*_`|\-+\u2022\d.)(]{0,24}(?P<label>intent(?:ion)?s?|expected\s+effects?)(?![A-Za-z])(?:\s?\([^)]{0,80}\))?"
    r"[\s*_`]{0,8}(?:$|[:\uff1a=|\u2013\u2014]|(?<=\s)-\s)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(r"[\s*_(]*(?<![A-Za-z])expected\s+effects?[\s*_`]{0,8}[:\uff1a]", re.IGNORECASE)
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})(.*)", re.DOTALL)


def intention(answer: str) -> tuple[str, str]:
    """The intention and the expected effect, each one clean line of at most `LIMIT` characters; empty where missing.

    Each goes on until the other, a fence or a heading. Of several the last one above the answer's last fence is taken:
    models think aloud first. What stands inside of fences is code and never looked at.
    """
    said = _said(answer[:_READ])
    what, effect = said["intention"], said["effect"]
    if not effect and (both := _INLINE.search(what)):
        what, effect = what[: both.start()], what[both.end() :]
    return _line(what), _line(effect)


def _said(text: str) -> dict[str, str]:
    found: dict[str, list[tuple[int, list[str]]]] = {"intention": [], "effect": []}
    current: list[str] | None = None
    opened, fences = "", 0
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if opened:
            # Closed by at least as many of the same marks and nothing behind them.
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
    texts = [(before < fences, text) for before, lines in entries if (text := "\n".join(lines)).strip(" \n*_`")]
    above = [text for is_above, text in texts if is_above]
    return above[-1] if above else texts[0][1] if texts else ""


def _line(text: str) -> str:
    return one_line(text.strip(" \t\n*_`|"), LIMIT).strip("*_ ")


def one_line(text: str, limit: int) -> str:
    """Hostile text as one line of at most `limit` characters, without control characters; a cut ends with dots."""
    line = " ".join(clean(text[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
