"""The first child of a run is bred before any other is asked for: what it took is then known, and what all may take.

A gate holds the others back for it where money is limited; a forecast is made of it in any case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_TICK = 0.2


class Pilot:
    """Safe from several threads."""

    def __init__(self, seconds: float = 60.0) -> None:
        """`seconds`: after so long the others go too."""
        self._until = time.monotonic() + seconds
        self._first: str | None = None
        self._landed = threading.Event()
        self._lock = threading.Lock()

    def follow(self, id: str, given_up: Callable[[], bool]) -> None:
        """Before a child's model is asked: at once for the first one, for the others when it has landed."""
        with self._lock:
            self._first = self._first or id
        while id != self._first and not given_up() and time.monotonic() < self._until:
            if self._landed.wait(_TICK):
                return

    @property
    def landed(self) -> bool:
        """The first child has its code, or has failed."""
        return self._landed.is_set()

    def land(self) -> None:
        self._landed.set()
