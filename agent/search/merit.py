"""What a program is worth by itself, with luck discounted: by what parents are chosen and the control `best-of-n` goes on.

A single training of a program may have been lucky, the more so if it is the best of many. Each noisy objective is drawn
towards the mean of all programs by as much as its noise explains of their spread (empirical Bayes, James and Stein 1961); a
program that was trained several times is drawn less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import ge

from agent.core.running_mean import RunningMean
from agent.population.archive import Archive
from agent.population.candidate import Individual, Outcome

_SPREAD = 3.0
"""Programs are taken to lie so many sigmas apart until the results say otherwise."""
_PRIOR = 4
"""This assumption counts as so many programs."""
_DRIFT = 0.1
"""Weight of the newest child in what an average one gains."""
_LEAST = 0.01
"""A worth below it counts as this much: of nothing there is no share."""


class Merit:
    """The programs of an archive in units of its worth, as they are now."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._distances = [axis.distance for axis in archive.scale.axes]
        children = archive.everyone[1:]
        rows = [archive.units(one) for one in children]
        weights = [1 / one.trainings for one in children]
        self._shrinkage: list[tuple[float, float] | None] = []
        """Of each objective: (mean of all programs, variance of their true values in squared units); None: it is exact."""
        for number, axis in enumerate(archive.scale.axes):
            noisy = axis.kind == "sigma" and children
            self._shrinkage.append(_spread_of([row[number] for row in rows], weights) if noisy else None)

    def units(self, one: Individual) -> tuple[float, ...]:
        """Of each objective, how many units better than the seed it probably is."""
        found = []
        for value, shrinkage in zip(self._archive.units(one), self._shrinkage, strict=True):
            if shrinkage is not None and one.candidate.recipes:  # the seed's own value is known from several trainings
                mean, variance = shrinkage
                value = mean + (value - mean) * variance / (variance + 1 / one.trainings)
            found.append(value)
        return tuple(found)

    def alone(self, one: Individual) -> float:
        """The worth of a set that holds only this program; 1 for the seed, 0 beyond the worst acceptable values."""
        return self.alone_at(self.units(one))

    def alone_at(self, units: Sequence[float]) -> float:
        """As `alone`, of a program with these units."""
        sides = [max(0.0, value + distance) for value, distance in zip(units, self._distances, strict=True)]
        return math.prod(sides) / math.prod(self._distances)

    def best(self, individuals: Sequence[Individual]) -> Individual:
        """The one that alone is worth most; of equal ones the first."""
        return max(individuals, key=self.alone)

    def front(self, individuals: Sequence[Individual]) -> list[Individual]:
        """Those that no other one probably dominates, in their order; of equal ones the first."""
        rows = [self.units(one) for one in individuals]
        # What dominates a row comes before it in this order, and something in the front dominates whatever anything dominates.
        order = sorted(range(len(rows)), key=lambda place: tuple(-value for value in rows[place]))
        kept: list[int] = []
        for place in order:
            row = rows[place]
            if not any(all(map(ge, rows[other], row)) for other in kept):
                kept.append(place)
        return [individuals[place] for place in sorted(kept)]


def _spread_of(values: Sequence[float], noise: Sequence[float]) -> tuple[float, float]:
    """(mean, variance of the true values), from measured values and the variance of the noise of each."""
    mean = sum(values) / len(values)
    seen = sum((value - mean) ** 2 for value in values) - sum(noise)
    return mean, max(0.0, seen + _PRIOR * _SPREAD**2) / (len(values) + _PRIOR)


class Advantage:
    """What each child gained over its better parent, against what an average child of the run gains at the time."""

    def __init__(self, archive: Archive) -> None:
        self._archive, self._usual = archive, RunningMean(_DRIFT)

    def of(self, outcome: Outcome) -> float:
        """By what share (as a logarithm) the outcome is worth more than an average child would be; 0 for less, and for a
        failure or a duplicate. The archive has the outcome already. Each outcome counts once in the average."""
        gain = 0.0
        if isinstance(outcome, Individual):
            merit = Merit(self._archive)
            parents = [merit.alone(self._archive.individuals[id]) for id in outcome.candidate.parents]
            gain = max(0.0, math.log(max(merit.alone(outcome), _LEAST) / max(_LEAST, *parents)))
        usual = self._usual.value
        self._usual.add(gain)
        return max(0.0, gain - usual)
