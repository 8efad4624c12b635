"""Handle SIGINT, SIGTERM and SIGUSR1 from the first to the last moment of a command, instead of Python's own handlers.

| moment | SIGINT, SIGTERM, or SIGUSR1, by which batch systems announce the end of a job |
|---|---|
| before a run works | ends the command: KeyboardInterrupt |
| while it works (`asked_to_stop`) | the first one asks the run to end, the second one is a KeyboardInterrupt |
| afterwards, and after a KeyboardInterrupt | ends the process at once: the journal has all that matters |

KeyboardInterrupt is raised at most once, so that none interrupts the handling of another.
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
"""The exit code of a command that the user stopped."""

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_SHOW_CURSOR = b"\x1b[?25h"

Stop = Callable[[str], None]


class _State:
    """What the next signal will do. There is one state for each process, as there is one handler."""

    stop: Stop | None = None
    """Asks the work to end; None if there is no such work, or if it was asked already."""
    final = False
    """Whether the next signal ends the process at once."""
    hurried = False
    """Whether a KeyboardInterrupt was raised: the user did not want to wait."""
    code = INTERRUPTED


_state = _State()


def begin() -> None:
    """Install the handlers. Call this first, from the main thread."""
    for number in _ASKING:
        signal.signal(number, _handle)


def outlive_the_terminal() -> None:
    """Go on when the terminal is closed."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def asked_to_stop(stop: Stop) -> Iterator[None]:
    """Inside the context the first signal calls `stop(reason)`. Does nothing in a thread other than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.stop = stop
    try:
        yield
    finally:
        _state.stop, _state.final = None, True


def hurried() -> bool:
    """Whether the user ended the work at once, by a KeyboardInterrupt."""
    return _state.hurried


def end(code: int) -> NoReturn:
    """End the process without waiting for threads. Call this last."""
    _state.code, _state.final = code, True
    if temporary := sys.modules.get("sandbox.launch.temporary"):
        with suppress(OSError):
            temporary.close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the terminal, or the program that reads the output, is gone
            stream.flush()
    os._exit(code)


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.stop is not None:
        stop, _state.stop = _state.stop, None
        stop("stopped by the user" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")
    elif _state.final:
        with suppress(OSError):
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
        os._exit(_state.code)
    else:
        _state.final = _state.hurried = True
        raise KeyboardInterrupt
