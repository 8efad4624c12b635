"""Which lessons were worth telling: how the children fared whose prompts told them, in units of the noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp2

from agent.memory.lesson import Lesson

FAILED_WORTH = -1.0
"""A child that fails is a loss of this size."""
MOST_WORTH = 2.0
"""No single child moves a credit further: one lucky training, or one that broke down, decides nothing."""
KEEP = 0.95
"""What is left of a credit when the next child counts: about the last twenty children decide."""
HALF_LIFE = 500
"""Children until a credit that nobody touches is worth half."""
USUAL_RATE = 0.02
"""Weight of each child in what is usual: about the last fifty."""
DEAD, STRONG = -6.0, 6.0
"""A lesson dies after about four children that lose as much as one child can; an insight is strong after four that gain so."""


@dataclass(slots=True)
class Account:
    """What is known of one lesson's worth to its readers."""

    credit: float = 0.0
    at: int = 0
    """When the credit was last counted, in children."""
    told: int = 0
    """Children whose prompt told the lesson."""
    dead: bool = False
    """For good: a credit that fades towards zero must not raise the dead."""


class Ledger:
    """Counts every child once, and fades as children come."""

    def __init__(self) -> None:
        self._children = 0
        self._usual = 0.0

    def opened(self, credit: float = 0.0, told: int = 0) -> Account:
        return Account(credit, self._children, told)

    def credit(self, account: Account) -> float:
        return account.credit * exp2((account.at - self._children) / HALF_LIFE)

    def count(self, child: Lesson, told: Iterable[Account]) -> None:
        """Credits the lessons that the child was told with how it fared against the usual child.

        Most changes of a good program lose: without that comparison every lesson would die of being told. A gain never
        counts for less because others gained too.
        """
        self._children += 1
        worth = worth_of(child)
        self._usual += max(USUAL_RATE, 1 / self._children) * (worth - self._usual)  # at first the plain mean
        surplus = clip(worth - min(0.0, self._usual), MOST_WORTH)
        for account in told:
            account.credit = KEEP * self.credit(account) + surplus
            account.at, account.told = self._children, account.told + 1
            account.dead = account.dead or account.credit <= DEAD


def worth_of(child: Lesson) -> float:
    """Its gains together, so that a trade of one objective for another is worth little; also those within the noise,
    which cancel out over many children."""
    if child.verdict == "failed":
        return FAILED_WORTH
    return clip(sum(clip(gain, MOST_WORTH) for gain in child.gains.values()), MOST_WORTH)


def clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
