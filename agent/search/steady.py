"""The decisions of `evolve.py` without waiting for the slowest candidate of a generation.

    repeat until enough candidates are proposed:
        propose as many candidates, of the population as it stands, as keep every evaluation slot busy
        when a candidate is trained: population <- SPEA-2(population + candidate)

`steady` yields one plan at a time from the `Population`, to which results are added. `Prefetch` computes how many
candidates to breed ahead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from agent.core.running_mean import RunningMean
from agent.population import selection
from agent.population.archive import Archive
from agent.population.candidate import Failure, Individual, Outcome
from agent.search.evolve import Plan, first_plan, next_plan, plan_of
from agent.search.parents import Parents
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings

_WEIGHT = 0.2
"""Weight of the newest measurement in a running mean."""
_AFTER_SMOKE = ("fit", "predict", "integrity", "score")
"""A candidate that failed at one of these stages has held a slot."""


class Population:
    """The best individuals so far, at most `elites` of them; selections from it are made once for each change."""

    def __init__(self, archive: Archive, settings: SearchSettings) -> None:
        self.members: list[Individual] = []
        self._archive, self._settings = archive, settings
        self._parents: list[Individual] | None = None
        self._exemplars: list[Individual] | None = None

    def add(self, individual: Individual) -> None:
        """Add an individual, if SPEA-2 keeps it."""
        before, pool = self.members, [*self.members, individual]
        self.members = selection.elites(pool, self._archive.objectives, self._settings.elites)
        if self.members != before:
            self._parents = self._exemplars = None

    def replace(self, individual: Individual) -> None:
        """Put a member that was trained again in place of what it was; one with a fault leaves."""
        now = [individual if one.id == individual.id else one for one in self.members]
        self.members = [one for one in now if not one.fault]
        self._parents = self._exemplars = None

    def parents(self) -> Sequence[Individual]:
        """The NSGA-II selection; the seed while there is no other individual."""
        if self._parents is None:
            pool = self.members or [self._archive.seed]
            self._parents = selection.parents(pool, self._archive.objectives, self._settings.population)
        return self._parents

    def exemplars(self) -> Sequence[Individual]:
        """The elites whose changes Evolution of Thought shows."""
        if self._exemplars is None:
            self._exemplars = selection.elites(self.members, self._archive.objectives, self._settings.eot_elites)
        return self._exemplars


def steady(
    population: Population, archive: Archive, settings: SearchSettings, sampler: RecipeSampler, proposed: int = 0
) -> Iterator[Plan]:
    """Yield the remaining plans. `proposed`: how many candidates earlier processes of the run proposed."""
    parents = Parents(archive, settings, sampler)
    for number in range(proposed, settings.candidates):
        if number < settings.first:
            yield first_plan(archive.seed, settings, sampler, number)
        elif settings.strategy == "evolution" and settings.parents == "nsga2":
            selected = sampler.plateau.parents(sampler.rng, population.parents(), archive.everyone)
            parent, partner = sampler.rng.choice(selected), sampler.rng.choice(selected)
            yield plan_of(parent, partner, population.exemplars(), settings, sampler)
        else:
            yield next_plan(parents, settings, sampler, number)


class Prefetch:
    """How many candidates to breed ahead, so that one is ready whenever a slot becomes free."""

    def __init__(self, slots: int, limit: int, *, eager: bool = True) -> None:
        """`slots`: trainings at once; `limit`: candidates that can be bred at once.

        `eager`: whether no slot may ever wait, as where time is what limits the run; else prompts that miss few results count
        for more.
        """
        self._slots, self._limit, self._eager = slots, limit, eager
        self._breeding, self._outside_slot, self._training = RunningMean(_WEIGHT), RunningMean(_WEIGHT), RunningMean(_WEIGHT)
        self._trained_share = RunningMean(_WEIGHT / 4)

    def add_bred(self, seconds: float) -> None:
        """Note that a candidate got its program, or failed to get one, after `seconds`."""
        self._breeding.add(seconds)

    def add_settled(self, outcome: Outcome, seconds: float = 0.0) -> None:
        """Note an outcome. `seconds`: from the moment it had its program to its end, waiting included."""
        trained = isinstance(outcome, Individual)
        self._trained_share.add(float(trained or (isinstance(outcome, Failure) and outcome.stage in _AFTER_SMOKE)))
        if isinstance(outcome, Individual):
            stages = outcome.evidence.seconds
            training = stages.get("fit", sum(stages.values()))
            self._training.add(training)
            self._outside_slot.add(max(0.0, seconds - outcome.evidence.waited - training))

    def wants_more(self, breeding: int, evaluating: int) -> bool:
        """Whether to propose one more. `breeding`: candidates without a program; `evaluating`: with one, waiting included."""
        waiting = max(0, evaluating - self._slots)
        if not self._eager and waiting >= self._slots:
            return False  # one training takes long: what is proposed now would miss its result, and those of all that wait
        return breeding < self._limit and breeding + waiting < self.ahead

    @property
    def ahead(self) -> int:
        """slots x (time without a slot / time in one) + 1, as measured so far; the number of slots until then.

        1 if a candidate gets its program sooner than a slot becomes free: any more would only make prompts miss results.
        The time without a slot is that of breeding and of all stages but training; candidates that never train count in it. If
        eager, with a margin for those that take longer than the mean, and one more; else without.
        """
        if not (self._breeding.value and self._training.value):
            return self._slots
        times = self._breeding, self._outside_slot
        without = sum(time.upper if self._eager else time.value for time in times)
        used_up = self._slots * without / self._training.value / self._trained_share.value - 1e-6
        return math.ceil(used_up) + self._eager if used_up > 1 else 1
