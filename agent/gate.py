"""Whether the run may begin anything more: asked before each birth, each model call and each evaluation."""

from __future__ import annotations

from typing import Protocol


class Halted(Exception):
    """Work that was asked for and not begun: it is left for a resume."""


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

    def __init__(self, ceilings: Ceilings | None = None) -> None:
        self._ceilings = ceilings
        self.stopped = ""
        """Why the user's will shut it."""
        self.ceiling = ""
        """The ceiling that was met last."""

    def shut(self, reason: str) -> None:
        self.stopped = self.stopped or reason

    def admits(self) -> bool:
        """One more birth? A no for the sake of a ceiling may become a yes when what is under way comes out cheaper."""
        return not self.stopped and not (self._ceilings and self._refused(self._ceilings.admits_breeding()))

    def to_breed(self, id: str) -> None:
        """Raises Halted if this child's model may not be asked any more."""
        if self.stopped or (self._ceilings and self._refused(self._ceilings.admits_call(id))):
            raise Halted

    def to_evaluate(self, id: str) -> None:
        """Raises Halted if this child's evaluation may not begin any more."""
        if self.stopped or (self._ceilings and self._refused(self._ceilings.admits_evaluation(id))):
            raise Halted

    def _refused(self, refusal: Refusal | None) -> bool:
        if refusal is not None:
            self.ceiling = refusal.reason
        return refusal is not None
