"""Whether the run may start anything more: asked before each candidate, each model call and each evaluation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from agent.core.errors import Halted

_TICK = 0.2
"""Seconds between two looks at whether the run was stopped."""


class FirstCandidate:
    """Breed one candidate first, so that its cost is known before the rest are asked for. Thread-safe.

    The admission holds the others back only where money is limited; a forecast is made of the first one in any case.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        """`seconds`: after so long the others go ahead without it."""
        self._until = time.monotonic() + seconds
        self._id: str | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()

    def wait(self, id: str, given_up: Callable[[], bool]) -> None:
        """Called before a candidate's model: returns at once for the first one, for the others when that is done."""
        with self._lock:
            self._id = self._id or id
        while id != self._id and not given_up() and time.monotonic() < self._until:
            if self._done.wait(_TICK):
                return

    @property
    def is_done(self) -> bool:
        """It has its program, or has failed."""
        return self._done.is_set()

    def done(self) -> None:
        self._done.set()


class Refusal(Protocol):
    """Why a budget refuses something."""

    @property
    def reason(self) -> str: ...


class Spending(Protocol):
    """What may be spent; a `Budget`."""

    def admits_breeding(self) -> Refusal | None: ...

    def admits_call(self, id: str) -> Refusal | None: ...

    def admits_evaluation(self, id: str) -> Refusal | None: ...


class Admission:
    """Closed by the user for everything, or by a limit for what the limit is of. Work that is under way is not touched."""

    def __init__(self, spending: Spending | None = None, first_candidate: FirstCandidate | None = None) -> None:
        self._spending, self._first_candidate = spending, first_candidate
        self.stop_reason = ""
        """Why the user closed it; empty if nobody did."""
        self.limit_reason = ""
        """The limit that refused something last; empty if none did."""
        self.is_cut = False
        """Work that is under way is not finished any more."""

    @property
    def is_closed(self) -> bool:
        return bool(self.stop_reason) or self.is_cut

    def stop(self, reason: str) -> None:
        """By the user: starts nothing more."""
        self.stop_reason = self.stop_reason or reason

    def cut(self, reason: str) -> None:
        """By the end of the time: starts nothing more, and what is under way is ended."""
        self.limit_reason, self.is_cut = reason, True

    def admits(self) -> bool:
        """May one more candidate be proposed?

        A limit that refuses it now may admit it later, if what is under way turns out cheaper than expected.
        """
        return not self.is_closed and not (self._spending and self._refused(self._spending.admits_breeding()))

    def before_call(self, id: str) -> None:
        """Raises Halted if this candidate's model may not be asked any more."""
        if self._first_candidate:
            self._first_candidate.wait(id, lambda: self.is_closed)
        if self.is_closed or (self._spending and self._refused(self._spending.admits_call(id))):
            raise Halted

    def before_evaluation(self, id: str) -> None:
        """Raises Halted if this candidate's evaluation may not start any more."""
        if self.is_closed or (self._spending and self._refused(self._spending.admits_evaluation(id))):
            raise Halted

    def _refused(self, refusal: Refusal | None) -> bool:
        if refusal is not None and not self.is_cut:
            self.limit_reason = refusal.reason
        return refusal is not None
