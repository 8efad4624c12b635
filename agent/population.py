"""What the steady schedule keeps between two results: who may be a parent, and how far breeding runs ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from agent import selection
from agent.archive import Archive
from agent.individual import Individual, Outcome

_WEIGHT = 0.2
"""Of the newest measurement in a running mean."""


class Sizes(Protocol):
    @property
    def elites(self) -> int: ...

    @property
    def population(self) -> int: ...

    @property
    def eot_elites(self) -> int: ...


class Population:
    """The best individuals so far, at most `elites` of them; draws from it are computed once for each change."""

    def __init__(self, archive: Archive, sizes: Sizes) -> None:
        self.members: list[Individual] = []
        self.joined = 0
        """Children settled so far, whatever became of them."""
        self._archive, self._sizes = archive, sizes
        self._parents: list[Individual] | None = None
        self._thinkers: list[Individual] | None = None

    def join(self, outcome: Outcome) -> None:
        """A settled child; an individual takes part from now on, if SPEA-2 keeps it."""
        self.joined += 1
        self._archive.add(outcome)
        if isinstance(outcome, Individual):
            everyone = [*self.members, outcome]
            self.members = selection.elites(everyone, self._archive.objectives, self._sizes.elites)
            self._parents = self._thinkers = None

    def parents(self) -> Sequence[Individual]:
        """The NSGA-II selection; the seed while nobody else is there."""
        if self._parents is None:
            pool = self.members or [self._archive.seed]
            self._parents = selection.parents(pool, self._archive.objectives, self._sizes.population)
        return self._parents

    def thinkers(self) -> Sequence[Individual]:
        """The elites that lend their changes to Evolution of Thought."""
        if self._thinkers is None:
            self._thinkers = selection.elites(self.members, self._archive.objectives, self._sizes.eot_elites)
        return self._thinkers


class Pace:
    """How many children to breed beyond those in evaluation, so that a slot that gets free finds one waiting."""

    def __init__(self, slots: int, most: int) -> None:
        self._slots, self._most = slots, most
        self._breeding: float | None = None
        self._training: float | None = None

    def bred(self, seconds: float) -> None:
        self._breeding = _mean(self._breeding, seconds)

    def trained(self, outcome: Outcome) -> None:
        if isinstance(outcome, Individual):
            self._training = _mean(self._training, sum(outcome.evidence.seconds.values()))

    def wants(self, breeding: int, training: int) -> bool:
        """One more, while so many are being bred and so many are in evaluation or wait for it?"""
        return breeding + max(0, training - self._slots) < self.ahead

    @property
    def ahead(self) -> int:
        """slots x (time to breed / time to evaluate) + 1, as measured so far; the number of slots until then."""
        if self._breeding is None or not self._training:
            return min(self._slots, self._most)
        return min(math.ceil(self._slots * self._breeding / self._training - 1e-6) + 1, self._most)


def _mean(so_far: float | None, value: float) -> float:
    return value if so_far is None else (1 - _WEIGHT) * so_far + _WEIGHT * value
