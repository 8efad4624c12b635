"""Decide whether the run may start more work: before each candidate, each model call and each evaluation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from agent.budget import Refusal
from agent.core.errors import Halted

_TICK = 0.2
"""Seconds between two checks whether the run was stopped."""


class FirstCandidate:
    """Breed one candidate first, so that its cost is known before the rest are asked for. Thread-safe.

    Other candidates wait only if dollars or tokens are limited. The first forecast is made when the first candidate is bred.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        """`seconds`: the other candidates wait no longer than this."""
        self._until = time.monotonic() + seconds
        self._id: str | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()

    def wait(self, id: str, given_up: Callable[[], bool]) -> None:
        """Called before a model is asked for a candidate. Returns at once for the first one, else when that is bred."""
        with self._lock:
            self._id = self._id or id
        while id != self._id and not given_up() and time.monotonic() < self._until:
            if self._done.wait(_TICK):
                return

    @property
    def is_done(self) -> bool:
        """Whether the first candidate has its program, or has failed."""
        return self._done.is_set()

    def done(self) -> None:
        """Let the other candidates go on."""
        self._done.set()


class Spending(Protocol):
    """Decides what may be spent: a `Budget`."""

    def admits_breeding(self) -> Refusal | None: ...

    def admits_call(self, id: str) -> Refusal | None: ...

    def admits_evaluation(self, id: str) -> Refusal | None: ...


class Admission:
    """Refuses new work after the user stops the run, and steps that a limit forbids. Work under way goes on."""

    def __init__(self, spending: Spending | None = None, first_candidate: FirstCandidate | None = None) -> None:
        self._spending, self._first_candidate = spending, first_candidate
        self.stop_reason = ""
        """Why the run was stopped; empty if it was not."""
        self.limit_reason = ""
        """The last refusal by a limit; empty if there was none."""
        self.is_cut = False
        """Whether the time is over and work under way is ended."""

    @property
    def is_closed(self) -> bool:
        return bool(self.stop_reason) or self.is_cut

    def stop(self, reason: str) -> None:
        """Start nothing more, because the user stopped the run."""
        self.stop_reason = self.stop_reason or reason

    def cut(self, reason: str) -> None:
        """Start nothing more, because the time is over and work under way is ended."""
        self.limit_reason, self.is_cut = reason, True

    def admits(self) -> bool:
        """Whether one more candidate may be proposed.

        A limit that refuses it now may admit it later, if work under way turns out cheaper than expected.
        """
        return not self.is_closed and not (self._spending and self._refused(self._spending.admits_breeding()))

    def before_call(self, id: str) -> None:
        """Raises Halted if no model may be asked for this candidate any more."""
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
