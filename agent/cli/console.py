"""What all output shares: consoles, a stream that ignores errors, and short texts."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from agent.core.text import format_number, visible

_WIDE = 200
"""Columns of the output if a program reads it."""


def fitness_text(fitness: Mapping[str, float] | None) -> str:
    """`accuracy 0.9437  parameters 3,952`; empty for None."""
    return "  ".join(f"{name} {format_number(value)}" for name, value in (fitness or {}).items())


def slots_text(devices: Sequence[str]) -> str:
    """`4 slots on cpu`, `2 slots on cuda:0, 2 slots on cuda:1`."""
    slots = (f"{count} slot{'s' if count > 1 else ''} on {device}" for device, count in Counter(devices).items())
    return ", ".join(slots)


def stdout_console() -> Console:
    """A console on standard output.

    In a pipe it is wide, so that no cell is cut, and it writes no blanks at the ends of lines.
    """
    if sys.stdout.isatty():
        return VisibleConsole(highlight=False, soft_wrap=False)
    return VisibleConsole(width=_WIDE, highlight=False, soft_wrap=False, file=cast(IO[str], _WithoutTrailingBlanks(sys.stdout)))


def print_wrapped(console: Console, text: Text) -> None:
    """Print a text that is wrapped between words on a terminal, and stays one line in a pipe."""
    console.print(text, soft_wrap=not console.is_terminal)


class VisibleConsole(Console):
    """Writes no control or format character but its own colours: texts of candidates and models are hostile.

    Passes the end of the reader on as an error, which ends the command without a word and with code 0.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else visible(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _WithoutTrailingBlanks:
    """Removes the blanks at the ends of lines. Each text that is written must consist of whole lines."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write("\n".join(line.rstrip(" \t") for line in text.split("\n")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LossyStream:
    """A stream that ignores errors: a run goes on if its terminal, or the program that reads its output, is gone."""

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
        except RuntimeError:  # a signal handler wrote in the middle of another write: its text is lost
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
