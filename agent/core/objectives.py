"""What a run optimises: quantities with a direction, bounds on them, and measured values."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Direction = Literal["max", "min"]

RELATIONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


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
    note: str = ""
    """Why, to be appended to the refusal."""

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

    @classmethod
    def mean(cls, readings: Sequence[Fitness]) -> Fitness:
        """Of each objective; exactly the value itself where all agree. Raises ValueError for no readings."""
        if not readings:
            raise ValueError("a mean needs at least one reading")
        columns = {name: [reading[name] for reading in readings] for name in readings[0].values}
        # Rounding must not make a count that never varies another one.
        return cls({name: v[0] if min(v) == max(v) else statistics.fmean(v) for name, v in columns.items()})

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
