"""Whether the run may begin anything more: asked before each birth, each model call and each evaluation."""

from __future__ import annotations

from collections.abc import Callable

Check = Callable[[], str | None]
"""Why nothing more of a kind may begin; None if it may."""


class Halted(Exception):
    """Work that was asked for and not begun: it is left for a resume."""


class Gate:
    """Shut by the user for everything, or by a ceiling for what the ceiling is of. What is under way is not touched."""

    def __init__(self, breeding: Check = lambda: None, evaluation: Check = lambda: None) -> None:
        self._breeding, self._evaluation = breeding, evaluation
        self.stopped = ""
        """Why the user's will shut it."""
        self.ceiling = ""
        """The ceiling that was reached first."""

    def shut(self, reason: str) -> None:
        self.stopped = self.stopped or reason

    def admits(self) -> bool:
        """One more birth?"""
        return self._open(self._breeding)

    def to_breed(self) -> None:
        """Raises Halted if no further model call may be made."""
        if not self._open(self._breeding):
            raise Halted

    def to_evaluate(self) -> None:
        """Raises Halted if no further evaluation may begin."""
        if not self._open(self._evaluation):
            raise Halted

    def _open(self, check: Check) -> bool:
        if self.stopped:
            return False
        reason = check()
        self.ceiling = self.ceiling or reason or ""
        return reason is None
