"""What all output shares: consoles, streams that forgive, and small pieces of text."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, cast

from rich.console import Console

from agent.core.text import clean, format_number

_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)
_WIDE = 200
"""Columns, where a program reads the output."""


def fitness_text(fitness: Mapping[str, float] | None) -> str:
    """`accuracy 0.9437  parameters 3,952`; empty for None."""
    return "  ".join(f"{name} {format_number(value)}" for name, value in (fitness or {}).items())


def slots_text(devices: Sequence[str]) -> str:
    """`4 slots on cpu`, `2 slots on cuda:0, 2 slots on cuda:1`."""
    slots = (f"{count} slot{'s' if count > 1 else ''} on {device}" for device, count in Counter(devices).items())
    return ", ".join(slots)


def one_line(text: str) -> str:
    """The text in one line, without control characters."""
    return " ".join(clean(text).split())


def stdout_console() -> Console:
    """A console on standard output.

    In a pipe it is wide, so that no cell is cut for a program that reads it, and writes no blanks at the ends of lines.
    """
    if sys.stdout.isatty():
        return Console(highlight=False, soft_wrap=False)
    return Console(width=_WIDE, highlight=False, soft_wrap=False, file=cast(IO[str], _WithoutTrailingBlanks(sys.stdout)))


class _WithoutTrailingBlanks:
    """Takes the blanks from the ends of lines; each text that is written ends with a whole line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_BLANKS.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LossyStream:
    """A stream whose errors are no errors of the run: it outlives its terminal and the program that reads its output."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._broken = stream, False

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            act()
        except OSError:
            self._broken = True
        except RuntimeError:  # a signal came in the middle of a write, and its handler writes too: one of them is lost
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
