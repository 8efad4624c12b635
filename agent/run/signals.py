"""What signals mean to a command, from its first line to its last: no moment is left to Python's own handlers.

| moment | SIGINT or SIGTERM |
|---|---|
| before a run works | ends the command: KeyboardInterrupt |
| while it works (`asked_to_stop`) | the first asks it to come to its end, the second is a KeyboardInterrupt |
| afterwards, and after a KeyboardInterrupt | ends the process where it stands: what counts is in the journal |

KeyboardInterrupt is raised once at most, so that none can fall into the handling of another.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code of what was stopped by the user."""

_ASKING = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"

Stop = Callable[[str], None]


class _Meaning:
    """Of the next signal. One for each process, as the handlers are."""

    stop: Stop | None = None
    """Asks the work to come to its end; gone when that was done."""
    final = False
    """Nothing is left to be ended in good order."""
    hurried = False
    """The user did not want to wait."""
    code = INTERRUPTED


_meaning = _Meaning()


def begin() -> None:
    """To be called first, from the main thread."""
    for number in _ASKING:
        signal.signal(number, _handle)


def outlive_the_terminal() -> None:
    """A terminal that is closed is no end of the work."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def asked_to_stop(stop: Stop) -> Iterator[None]:
    """While the work is under way, the first signal calls `stop(reason)`. In another thread than the main one: nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _meaning.stop = stop
    try:
        yield
    finally:
        _meaning.stop, _meaning.final = None, True


def hurried() -> bool:
    """Was the work ended at once?"""
    return _meaning.hurried


def end(code: int) -> NoReturn:
    """To be called last: leaves the process, without waiting for threads and without a moment for stray signals."""
    _meaning.code, _meaning.final = code, True
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader, or the terminal, has gone
            stream.flush()
    os._exit(code)


def _handle(number: int, frame: FrameType | None) -> None:
    if _meaning.stop is not None:
        stop, _meaning.stop = _meaning.stop, None
        stop("stopped by the user" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")
    elif _meaning.final:
        with suppress(OSError):
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
        os._exit(_meaning.code)
    else:
        _meaning.final = _meaning.hurried = True
        raise KeyboardInterrupt
