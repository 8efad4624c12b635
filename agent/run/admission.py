"""Whether the run may begin anything more: asked before each candidate, each model call and each evaluation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from agent.core.errors import Halted

_TICK = 0.2


class FirstCandidate:
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


class Refusal(Protocol):
    @property
    def reason(self) -> str: ...


class Ceilings(Protocol):
    """What may be spent; a `Budget`."""

    def admits_breeding(self) -> Refusal | None: ...

    def admits_call(self, id: str) -> Refusal | None: ...

    def admits_evaluation(self, id: str) -> Refusal | None: ...


class Admission:
    """Shut by the user for everything, or by a ceiling for what the ceiling is of. What is under way is not touched."""

    def __init__(self, ceilings: Ceilings | None = None, first_candidate: FirstCandidate | None = None) -> None:
        self._ceilings, self._first_candidate = ceilings, first_candidate
        self.stopped = ""
        """Why the user's will shut it."""
        self.ceiling = ""
        """The ceiling that was met last."""
        self.cut = False
        """What is under way is not finished any more."""

    @property
    def shut(self) -> bool:
        return bool(self.stopped) or self.cut

    def stop(self, reason: str) -> None:
        self.stopped = self.stopped or reason

    def cut_off(self, reason: str) -> None:
        self.ceiling, self.cut = reason, True

    def admits(self) -> bool:
        """One more candidate? A no for the sake of a ceiling may become a yes when what is under way comes out cheaper."""
        return not self.shut and not (self._ceilings and self._refused(self._ceilings.admits_breeding()))

    def to_breed(self, id: str) -> None:
        """Raises Halted if this child's model may not be asked any more."""
        if self._first_candidate:
            self._first_candidate.follow(id, lambda: self.shut)
        if self.shut or (self._ceilings and self._refused(self._ceilings.admits_call(id))):
            raise Halted

    def to_evaluate(self, id: str) -> None:
        """Raises Halted if this child's evaluation may not begin any more."""
        if self.shut or (self._ceilings and self._refused(self._ceilings.admits_evaluation(id))):
            raise Halted

    def _refused(self, refusal: Refusal | None) -> bool:
        if refusal is not None and not self.cut:
            self.ceiling = refusal.reason
        return refusal is not None
