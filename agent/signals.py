"""What signals mean to a run: the first asks it to come to an end, the second ends it, a closed terminal does neither."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ASKING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop(stop: Callable[[str], None]) -> Iterator[None]:
    """Calls `stop(reason)` at the first SIGINT or SIGTERM and raises KeyboardInterrupt at the second; ignores SIGHUP.

    Does nothing in a thread other than the main one, where Python sets no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop("stopped by the user" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, handle) for number in _ASKING}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
