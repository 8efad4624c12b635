"""Which lessons are worth telling: how much more their readers gained than comparable candidates that were not told them.

A lesson is only worth something by the difference that it makes. Most changes of a good program lose and whole-program answers
gain more than small ones, so a candidate is compared with others of its operator at that time, and never with nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp2

from agent.memory.lesson import Lesson

FAILED_WORTH = -1.0
"""A candidate that fails counts as a loss of this size."""
MAX_WORTH = 3.0
"""The most that one candidate is worth, and that it can differ from its comparison, so that no lucky training decides alone."""
DOUBT = 6.0
"""A credit is shrunk as by so many readers that gained nothing: a few readers say little."""
LITTLE_USE = 0.2
"""Weight of a reader whose answer does not name the lesson, against 1 for one whose answer does: it may not have used it."""
KEEP = 0.95
"""The share of a credit's weight that remains when the next reader is counted: about the last twenty readers decide."""
HALF_LIFE = 500
"""A credit without new readers is worth half after this many candidates."""
RECENT = 0.95
"""The share of a comparison that remains when the next candidate of its kind is counted: about the last twenty decide."""
FEW = 3.0
"""A comparison with few candidates is shrunk towards that with all operators, as by so many candidates."""
DEAD, STRONG = -1.0, 0.75
"""In units of the noise. A lesson dies after about three readers that used it and lost as much as one can; an insight is strong
after as many that gained as much."""


@dataclass(slots=True)
class FadingSum:
    """A sum of values that forgets: with each tick of its owner's clock, `RECENT` of it remains."""

    total: float = 0.0
    weight: float = 0.0
    at: int = 0

    def faded(self, clock: int) -> tuple[float, float]:
        """(total, weight) when the clock shows `clock`."""
        left = RECENT ** (clock - self.at)
        return self.total * left, self.weight * left

    def add(self, value: float, clock: int) -> None:
        total, weight = self.faded(clock)
        self.total, self.weight, self.at = total + value, weight + 1, clock


@dataclass(slots=True, eq=False)
class LessonCredit:
    """How the readers of one lesson did: the candidates whose prompts showed it."""

    surplus: float = 0.0
    """Sum of what its readers gained more than their comparison, weighted by use, when it was last counted."""
    weight: float = 0.0
    counted_at: int = 0
    """Number of the candidate that was counted last."""
    readers: int = 0
    cited: int = 0
    """Readers whose answers named it."""
    dead: bool = False
    """Stays true: a credit that fades towards zero must not bring the lesson back."""
    own: defaultdict[str, FadingSum] = field(default_factory=lambda: defaultdict(FadingSum))
    """What its readers gained, by operator: left out of its comparison."""


class CreditLedger:
    """Counts every candidate once, and lets credits fade as candidates are counted."""

    def __init__(self) -> None:
        self._candidates = 0
        self._clocks: defaultdict[str, int] = defaultdict(int)
        self._sums: defaultdict[str, FadingSum] = defaultdict(FadingSum)
        """What candidates gained, by operator; "" has all of them."""

    def open(self) -> LessonCredit:
        """The credit of a new lesson."""
        return LessonCredit(counted_at=self._candidates)

    def merge(self, credits: list[LessonCredit]) -> LessonCredit:
        """One credit from the readers of several lessons."""
        merged = self.open()
        for credit in credits:
            left = self._left(credit)
            merged.surplus, merged.weight = merged.surplus + left * credit.surplus, merged.weight + left * credit.weight
            merged.readers, merged.cited = merged.readers + credit.readers, merged.cited + credit.cited
        return merged

    def current(self, credit: LessonCredit) -> float:
        """What being told the lesson brings a candidate, in units of the noise: shrunk towards 0, and fading towards it."""
        left = self._left(credit)
        return left * credit.surplus / (left * credit.weight + DOUBT)

    def count(self, outcome: Lesson, readings: Mapping[LessonCredit, bool]) -> None:
        """Credit the lessons that a candidate was told. `readings`: the credit of each, and whether the answer names it."""
        worth, kinds = worth_of(outcome), ("", outcome.operator)
        self._candidates += 1
        for credit, cited in readings.items():
            if self._clocks[""]:  # the first candidate of a run cannot be compared
                weight = 1.0 if cited else LITTLE_USE
                left = KEEP * self._left(credit)
                surplus = clip(worth - self._comparison(outcome.operator, credit), MAX_WORTH)
                credit.surplus, credit.weight = left * credit.surplus + weight * surplus, left * credit.weight + weight
            credit.counted_at, credit.readers, credit.cited = self._candidates, credit.readers + 1, credit.cited + cited
            credit.dead = credit.dead or self.current(credit) <= DEAD
        for kind in kinds:
            self._clocks[kind] += 1
            for sums in (self._sums, *(credit.own for credit in readings)):
                sums[kind].add(worth, self._clocks[kind])

    def _comparison(self, operator: str, credit: LessonCredit) -> float:
        """What a candidate of this operator gains at this time if it is not told the lesson.

        Where few or none were not told it, what all candidates gain: being told is then no merit.
        """
        total, weight = self._sums[""].faded(self._clocks[""])
        mean = total / weight
        for kind in ("", operator):
            total, weight = self._sums[kind].faded(self._clocks[kind])
            own, told = credit.own[kind].faded(self._clocks[kind])
            mean = (total - own + FEW * mean) / (max(0.0, weight - told) + FEW)
        return mean

    def _left(self, credit: LessonCredit) -> float:
        """The share of a credit that has not faded since it was last counted."""
        return exp2((credit.counted_at - self._candidates) / HALF_LIFE)


def worth_of(outcome: Lesson) -> float:
    """The sum of a candidate's gains, so that trading one objective for another is worth little.

    Gains within the noise count too: they cancel out over many candidates. A program that was known already brings nothing.
    """
    if outcome.verdict == "failed":
        return FAILED_WORTH
    return 0.0 if outcome.repeats else clip(sum(clip(gain, MAX_WORTH) for gain in outcome.gains.values()), MAX_WORTH)


def clip(value: float, limit: float) -> float:
    """The value, or the nearest one from -limit to limit."""
    return max(-limit, min(limit, value))
