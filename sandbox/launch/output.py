"""Output of candidates: read completely, kept in part, cleaned before anyone sees it."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable


class HeadAndTail:
    """Keeps the first and the last `limit // 2` bytes of a stream of any length."""

    def __init__(self, limit: int) -> None:
        self._half, self._head, self._tail, self._total = limit // 2, bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        """Append to the stream."""
        self._total += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * self._half:
            del self._tail[: len(self._tail) - self._half]

    def text(self) -> str:
        """Return what was kept, cleaned; a line in the middle states how much is missing."""
        tail = bytes(self._tail[-self._half :]) if self._half else b""
        missing = self._total - len(self._head) - len(tail)
        gap = f"\n[... {missing:,} bytes left out ...]\n" if missing else ""
        return clean(self._head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace"))


MAX_LINE = 500
"""Largest number of characters of a line that are passed on."""
_MAX_BYTES = 4 * MAX_LINE  # UTF-8 takes up to four for a character
_LINE_SECONDS = 0.01
_SHARE = 4
"""The cost of a line: at least `_LINE_SECONDS`, or `_SHARE` times the seconds that the function took for it."""


class Lines:
    """Passes the complete lines of a call's output to a function until it returns False. Skips the first, which lists layers.

    Each line costs a hundredth of a second, or four times the seconds that the function took for it, out of a budget that grows
    with the clock up to one second. When it is used up, lines are dropped, older ones first, at almost no cost: a flood of
    lines takes at most a quarter of the caller's time.
    """

    def __init__(self, function: Callable[[str], bool]) -> None:
        self._function, self._rest = function, b""
        self._heading, self._wanted = True, True
        self._budget, self._updated = 1.0, time.monotonic()

    def add(self, data: bytes) -> bool:
        """Append to the output. Returns False when the function wants no more."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._rest = (self._rest + rest)[:_MAX_BYTES]
            return self._wanted
        whole, self._rest = self._rest + whole, rest[:_MAX_BYTES]
        if self._heading:
            self._heading = False
            _, more, whole = whole.partition(b"\n")
            if not more:
                return self._wanted
        now = time.monotonic()
        self._budget, self._updated = min(1.0, self._budget + now - self._updated), now
        affordable = int(self._budget / _LINE_SECONDS)
        for line in whole.rsplit(b"\n", affordable)[-affordable:] if affordable > 0 else []:
            if not self._wanted or self._budget <= 0:
                break
            started = time.monotonic()
            text = clean(line[:_MAX_BYTES].decode("utf-8", "replace"))
            self._wanted = self._function(text.rstrip("\n").rpartition("\n")[2][:MAX_LINE])  # what a terminal shows in the end
            self._budget -= max(_LINE_SECONDS, _SHARE * (time.monotonic() - started))
        return self._wanted


_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\))")
"""What colours a terminal, moves its cursor or sets its title."""


def clean(text: str) -> str:
    """Remove control, format and surrogate characters and whole terminal escapes; line breaks and tabs stay.

    A carriage return begins a new line: what a progress bar overwrites stays apart from what it wrote.
    """
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    bad = "".join(c for c in set(text) if c not in "\n\t" and unicodedata.category(c).startswith("C"))
    return text.translate(str.maketrans("", "", bad)) if bad else text
