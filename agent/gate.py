"""Whether the run may begin anything more: asked before each birth, each model call and each evaluation."""

from __future__ import annotations

from typing import Protocol

from agent.pilot import Pilot


class Halted(Exception):
    """Work that was asked for and not begun, or not finished: it is left for a resume."""


class Refusal(Protocol):
    @property
    def reason(self) -> str: ...


class Ceilings(Protocol):
    """What may be spent; a `Budget`."""

    def admits_breeding(self) -> Refusal | None: ...

    def admits_call(self, id: str) -> Refusal | None: ...

    def admits_evaluation(self, id: str) -> Refusal | None: ...


class Gate:
    """Shut by the user for everything, or by a ceiling for what the ceiling is of. What is under way is not touched."""

    def __init__(self, ceilings: Ceilings | None = None, pilot: Pilot | None = None) -> None:
        self._ceilings, self._pilot = ceilings, pilot
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
        """One more birth? A no for the sake of a ceiling may become a yes when what is under way comes out cheaper."""
        return not self.shut and not (self._ceilings and self._refused(self._ceilings.admits_breeding()))

    def to_breed(self, id: str) -> None:
        """Raises Halted if this child's model may not be asked any more."""
        if self._pilot:
            self._pilot.follow(id, lambda: self.shut)
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
