"""What the steady schedule keeps between two results: who may be a parent, and how far breeding runs ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.population import selection
from agent.population.archive import Archive
from agent.population.candidate import Failure, Individual, Outcome
from agent.search.settings import SearchSettings

_WEIGHT = 0.2
"""Of the newest measurement in a running mean."""
_AFTER_SMOKE = ("fit", "predict", "integrity", "score")
"""Stages of a failure that has held a slot."""


class Population:
    """The best individuals so far, at most `elites` of them; selections from it are made once for each change."""

    def __init__(self, archive: Archive, search: SearchSettings) -> None:
        self.members: list[Individual] = []
        self.joined = 0
        """Children settled so far, whatever became of them."""
        self._archive, self._search = archive, search
        self._parents: list[Individual] | None = None
        self._exemplars: list[Individual] | None = None

    def join(self, outcome: Outcome) -> None:
        """A settled child; an individual takes part from now on, if SPEA-2 keeps it."""
        self.joined += 1
        self._archive.add(outcome)
        if isinstance(outcome, Individual):
            before, everyone = self.members, [*self.members, outcome]
            self.members = selection.elites(everyone, self._archive.objectives, self._search.elites)
            if self.members != before:
                self._parents = self._exemplars = None

    def parents(self) -> Sequence[Individual]:
        """The NSGA-II selection; the seed while nobody else is there."""
        if self._parents is None:
            pool = self.members or [self._archive.seed]
            self._parents = selection.parents(pool, self._archive.objectives, self._search.population)
        return self._parents

    def exemplars(self) -> Sequence[Individual]:
        """The elites that lend their changes to Evolution of Thought."""
        if self._exemplars is None:
            self._exemplars = selection.elites(self.members, self._archive.objectives, self._search.eot_elites)
        return self._exemplars


class Pace:
    """How many children to breed beyond those that hold a slot, so that a slot that gets free finds one waiting."""

    def __init__(self, slots: int, most: int) -> None:
        """`most`: children that can be bred at once."""
        self._slots, self._most = slots, most
        self._breeding, self._beside, self._training, self._trains = _Mean(), _Mean(), _Mean(), _Mean(_WEIGHT / 4)

    def bred(self, seconds: float) -> None:
        """A child's code, or that there will be none, took so long."""
        self._breeding.add(seconds)

    def settled(self, outcome: Outcome, seconds: float = 0.0) -> None:
        """`seconds`: from its code to its end, waiting included."""
        trained = isinstance(outcome, Individual)
        self._trains.add(float(trained or (isinstance(outcome, Failure) and outcome.stage in _AFTER_SMOKE)))
        if isinstance(outcome, Individual):
            stages = outcome.evidence.seconds
            training = stages.get("fit", sum(stages.values()))
            self._training.add(training)
            self._beside.add(max(0.0, seconds - outcome.evidence.waited - training))

    def wants(self, breeding: int, evaluating: int) -> bool:
        """One more, while so many are being bred and so many are in evaluation or wait for it?"""
        return breeding < self._most and breeding + max(0, evaluating - self._slots) < self.ahead

    @property
    def ahead(self) -> int:
        """slots x (time without a slot / time in one) + 1, as measured so far; the number of slots until then.

        The time without one is that of breeding and of all stages but training, with a margin for those that take longer
        than the mean; children that never train count in it.
        """
        if not (self._breeding.value and self._training.value):
            return self._slots
        without = self._breeding.ample + self._beside.ample
        return math.ceil(self._slots * without / self._training.value / self._trains.value - 1e-6) + 1


class _Mean:
    """A running mean, and how far values are from it; 0 until there is one."""

    def __init__(self, weight: float = _WEIGHT) -> None:
        self.value, self._deviation, self._weight, self._count = 0.0, 0.0, weight, 0

    def add(self, value: float) -> None:
        self._count += 1
        weight = max(self._weight, 1 / self._count)
        self._deviation += weight * (abs(value - self.value) - self._deviation) if self._count > 1 else 0.0
        self.value += weight * (value - self.value)

    @property
    def ample(self) -> float:
        """What nearly all values are below: the mean and twice their mean distance from it."""
        return self.value + 2 * self._deviation
