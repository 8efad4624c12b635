"""Which lessons are worth showing: how the candidates whose prompts showed a lesson did, in units of the noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp2

from agent.memory.lesson import Lesson

FAILED_WORTH = -1.0
"""A candidate that fails counts as a loss of this size."""
MAX_WORTH = 2.0
"""The most that one candidate changes a credit, so that one lucky or broken training decides nothing."""
KEEP = 0.95
"""The share of a credit that remains when the next reader is counted: about the last twenty readers decide."""
HALF_LIFE = 500
"""A credit without new readers is worth half after this many candidates."""
AVERAGE_RATE = 0.02
"""Weight of each candidate in the average worth: about the last fifty decide."""
DEAD, STRONG = -6.0, 6.0
"""A lesson dies after about four readers that lose as much as one can; an insight is strong after four that gain as much."""


@dataclass(slots=True)
class LessonCredit:
    """How the readers of one lesson did: the candidates whose prompts showed it."""

    value: float = 0.0
    """The value when it was last counted; it has faded since then."""
    counted_at: int = 0
    """Number of the candidate that was counted last."""
    readers: int = 0
    dead: bool = False
    """Stays true: a credit that fades towards zero must not bring the lesson back."""


class CreditLedger:
    """Counts every candidate once, and lets credits fade as candidates are counted."""

    def __init__(self) -> None:
        self._candidates = 0
        self._average = 0.0

    def open(self, value: float = 0.0, readers: int = 0) -> LessonCredit:
        """The credit of a new lesson."""
        return LessonCredit(value, self._candidates, readers)

    def current(self, credit: LessonCredit) -> float:
        """The value of the credit now, after fading."""
        return credit.value * exp2((credit.counted_at - self._candidates) / HALF_LIFE)

    def count(self, outcome: Lesson, shown: Iterable[LessonCredit]) -> None:
        """Credit the lessons that a candidate was shown with how it did against the average candidate.

        Most changes of a good program are losses: without the comparison, every lesson that is shown would die. A gain never
        counts less because other candidates gained too.
        """
        self._candidates += 1
        worth = worth_of(outcome)
        self._average += max(AVERAGE_RATE, 1 / self._candidates) * (worth - self._average)  # at first the plain mean
        surplus = clip(worth - min(0.0, self._average), MAX_WORTH)
        for credit in shown:
            credit.value = KEEP * self.current(credit) + surplus
            credit.counted_at, credit.readers = self._candidates, credit.readers + 1
            credit.dead = credit.dead or credit.value <= DEAD


def worth_of(outcome: Lesson) -> float:
    """The sum of a candidate's gains, so that trading one objective for another is worth little.

    Gains within the noise count too: they cancel out over many candidates.
    """
    if outcome.verdict == "failed":
        return FAILED_WORTH
    return clip(sum(clip(gain, MAX_WORTH) for gain in outcome.gains.values()), MAX_WORTH)


def clip(value: float, limit: float) -> float:
    """The value, or the nearest one from -limit to limit."""
    return max(-limit, min(limit, value))
