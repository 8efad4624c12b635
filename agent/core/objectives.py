"""What a run optimises: quantities with a direction, their bounds, measured values, and the noise of measurements."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import trunc
from types import MappingProxyType
from typing import Literal

Direction = Literal["max", "min"]

RELATIONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}

NOISE_BAND = 2.0
"""In sigmas: a smaller change may be nothing but noise."""
EXACT_UNIT = 0.1
"""For quantities without noise: a change by this share of the seed's value counts as much as one sigma of a noisy one."""
EXACT_CAP = 5.0
"""For quantities without noise: the most such units that count. Half the parameters is as good as a tenth, twice as many
as bad as ten times as many."""


@dataclass(frozen=True)
class Objective:
    """A named quantity and whether more or less of it is wanted."""

    name: str
    direction: Direction
    reported: str = ""
    """Why the values are only what the candidate itself reports; empty if they are measured outside of its code."""

    def better(self, a: float, b: float) -> bool:
        """Whether value `a` is strictly better than value `b`."""
        return a > b if self.direction == "max" else a < b


@dataclass(frozen=True)
class Constraint:
    """A bound that a fitness must keep, such as `parameters <= 518230`."""

    name: str
    relation: str
    """One of `RELATIONS`."""
    bound: float

    def holds(self, value: float) -> bool:
        return bool(RELATIONS[self.relation](value, self.bound))

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {self.bound:g}"


@dataclass(frozen=True)
class Fitness:
    """One finite value for each objective, in the objective's own unit (accuracy in 0..1, parameters as a count)."""

    values: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fitness) and dict(self.values) == dict(other.values)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.values.items())))

    def minimised(self, objectives: Sequence[Objective]) -> tuple[float, ...]:
        """The values as costs, in the order of the objectives: smaller is better in every component."""
        return tuple(-self[o.name] if o.direction == "max" else self[o.name] for o in objectives)

    def dominates(self, other: Fitness, objectives: Sequence[Objective]) -> bool:
        """Pareto dominance: nowhere worse than `other` and somewhere better."""
        mine, theirs = self.minimised(objectives), other.minimised(objectives)
        return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs

    def broken(self, constraints: Iterable[Constraint]) -> list[Constraint]:
        """The constraints that these values violate (a constraint on a quantity not measured is not judged)."""
        return [c for c in constraints if c.name in self.values and not c.holds(self[c.name])]


@dataclass(frozen=True)
class Noise:
    """The noise floor: how far several trainings of the seed lie apart. Its sigma is the unit in which changes are measured."""

    sigma: Mapping[str, float] = field(hash=False)
    """Spread of each objective over training seeds, in the objective's own unit; 0 for a quantity that does not vary."""
    reference: Mapping[str, float] = field(hash=False)
    """The seed's mean of each objective, in the same unit: changes of a quantity without noise are measured as shares of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", MappingProxyType(dict(self.sigma)))
        object.__setattr__(self, "reference", MappingProxyType(dict(self.reference)))

    @classmethod
    def of(cls, fitnesses: Sequence[Fitness], objectives: Sequence[Objective]) -> Noise:
        """Compute the noise from trainings of the seed with different training seeds. Raises ValueError for fewer than two."""
        if len(fitnesses) < 2:
            raise ValueError("the noise floor needs at least two trainings of the seed")
        values = {o.name: [fitness[o.name] for fitness in fitnesses] for o in objectives}
        return cls(
            {name: statistics.stdev(each) for name, each in values.items()},
            {name: statistics.fmean(each) for name, each in values.items()},
        )

    @classmethod
    def unmeasured(cls, seed: Fitness, objectives: Sequence[Objective]) -> Noise:
        """Noise of size 0, where it was not measured: then no change is within the noise."""
        return cls({o.name: 0.0 for o in objectives}, {o.name: seed[o.name] for o in objectives})

    def mean_of_seed(self, seed: Fitness) -> Fitness:
        """The seed's mean over training seeds, from which changes are counted: its one training in a run may be lucky.

        A quantity that does not vary keeps the value of `seed`, that one training.
        """
        return Fitness({name: self.reference[name] if self.sigma.get(name) else value for name, value in seed.values.items()})

    def gain(self, objective: Objective, change: float) -> float:
        """The change in units of the noise, positive for an improvement.

        One unit is one sigma. Without noise it is `EXACT_UNIT` of the seed's value, at most `EXACT_CAP` units count, and
        where the seed's value is 0 any change is one unit.
        """
        better = change if objective.direction == "max" else -change
        if sigma := self.sigma[objective.name]:
            return better / sigma
        if reference := abs(self.reference[objective.name]):
            return max(-EXACT_CAP, min(EXACT_CAP, better / (EXACT_UNIT * reference)))
        return float((better > 0) - (better < 0))

    def within(self, objective: Objective, change: float) -> bool:
        """Whether the change may be nothing but noise. For a quantity without noise: only if there is no change."""
        return abs(change) <= NOISE_BAND * self.sigma[objective.name]


def amount(objective: Objective, change: float, noise: Noise) -> str:
    """A change as text: `+2.1 sigma`; `-12.4%` of the seed's value without noise; the plain difference if that rounds to 0%."""
    if not change:
        return "same"
    if sigma := noise.sigma[objective.name]:
        sigmas = change / sigma
        if noise.within(objective, change):  # 1.96 must not look like the 2.0 that counts
            sigmas = trunc(sigmas * 10) / 10
        return f"{sigmas:+.1f} sigma" if abs(sigmas) < 100 else f"{sigmas:+.0g} sigma"
    reference = abs(noise.reference[objective.name])
    if reference and abs(change / reference) >= 0.0005:
        return f"{change / reference:+.1%}" if abs(change / reference) < 10 else f"{change / reference:+.0g} times"
    return f"{change:+.4g}"
