"""Output of candidates: drained whole, kept in part, cleaned before anyone looks at it."""

from __future__ import annotations

import unicodedata


class HeadAndTail:
    """Keeps the first and the last `limit // 2` bytes of a stream of any length."""

    def __init__(self, limit: int) -> None:
        self._half, self._head, self._tail, self._total = limit // 2, bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        self._total += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * self._half:
            del self._tail[: len(self._tail) - self._half]

    def text(self) -> str:
        tail = bytes(self._tail[-self._half :]) if self._half else b""
        missing = self._total - len(self._head) - len(tail)
        gap = f"\n[... {missing:,} bytes left out ...]\n" if missing else ""
        return clean(self._head.decode("utf-8", "replace") + gap + tail.decode("utf-8", "replace"))


def clean(text: str) -> str:
    """Without control, format and surrogate characters (terminal escapes, direction marks); line breaks and tabs stay."""
    return "".join(c for c in text.replace("\r\n", "\n") if c in "\n\t" or not unicodedata.category(c).startswith("C"))
