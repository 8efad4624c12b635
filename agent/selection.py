"""Selection by several objectives: SPEA-2 elites, NSGA-II parents, the front, exact hypervolume (from moocore)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import le
from typing import Generic, Protocol, TypeVar

from agent.fitness import Fitness, Objective
from agent.individual import Individual
from agent.ranking import Costs, nsga2, spea2


class HasFitness(Protocol):
    @property
    def fitness(self) -> Fitness: ...


_Measured = TypeVar("_Measured", bound=HasFitness)


def elites(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """SPEA-2 environmental selection, best first where there is an order."""
    return _select(spea2, population, objectives, count)


def parents(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """NSGA-II selection."""
    return _select(nsga2, population, objectives, count)


class Front(Generic[_Measured]):
    """The non-dominated ones, of equal fitness only the earliest, sorted by the first objective, best first."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._costs: list[tuple[float, ...]] = []
        self.members: list[_Measured] = []

    def add(self, one: _Measured) -> bool:
        """Is it on the front now?"""
        costs = one.fitness.minimised(self._objectives)
        place = bisect_left(self._costs, costs)
        # What dominates it sorts before it, what it dominates behind it. Of two objectives, the second falls along the front:
        # where the nearest one before it does not dominate, no other does.
        first = max(0, place - 1) if len(costs) == 2 else 0
        if any(_nowhere_worse(other, costs) for other in self._costs[first : place + 1]):
            return False
        stay = [index for index in range(place, len(self._costs)) if not _nowhere_worse(costs, self._costs[index])]
        self._costs[place:] = [costs, *(self._costs[index] for index in stay)]
        self.members[place:] = [one, *(self.members[index] for index in stay)]
        return True


def front(population: Iterable[_Measured], objectives: Sequence[Objective]) -> list[_Measured]:
    """See `Front`."""
    found: Front[_Measured] = Front(objectives)
    for one in population:
        found.add(one)
    return found.members


def _nowhere_worse(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(map(le, a, b))


def hypervolume(fitnesses: Sequence[Fitness], objectives: Sequence[Objective], seed: Fitness) -> float:
    """The volume that a set dominates, in units of the seed: the seed alone has 1.0.

    Each cost is measured from the seed's in multiples of the seed's magnitude; the reference point lies one magnitude
    beyond the seed (twice its parameters, none of its accuracy).
    """
    if not fitnesses:
        return 0.0
    if len(objectives) == 2:
        return _area([f.minimised(objectives) for f in fitnesses], seed.minimised(objectives))
    import moocore
    import numpy as np

    origin = np.array(seed.minimised(objectives), dtype=float)
    scale = np.where(origin == 0.0, 1.0, np.abs(origin))
    points = (np.array([f.minimised(objectives) for f in fitnesses], dtype=float) - origin) / scale
    return float(moocore.hypervolume(points, ref=np.ones(len(objectives))))


def _area(points: Sequence[tuple[float, ...]], seed: tuple[float, ...]) -> float:
    """The same of two objectives, where no library is worth its import: the steps under the points, from left to right."""
    scaled = [[(value - origin) / (abs(origin) or 1.0) for value, origin in zip(p, seed, strict=True)] for p in points]
    area, floor = 0.0, 1.0
    for x, y in sorted(scaled):
        if x < 1.0 and y < floor:
            area += (1.0 - x) * (floor - y)
            floor = y
    return area


def _select(
    selector: Callable[[Costs, int], list[int]],
    population: Sequence[Individual],
    objectives: Sequence[Objective],
    count: int,
) -> list[Individual]:
    if count >= len(population):
        return list(population)
    costs = _unit_costs([i.fitness for i in population], objectives)
    return [population[index] for index in selector(costs, count)]


def _unit_costs(fitnesses: Sequence[Fitness], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Costs scaled to 0..1 in each objective: SPEA-2 measures distances, and parameters would drown accuracy."""
    columns = list(zip(*(f.minimised(objectives) for f in fitnesses), strict=True))
    spans = [(min(c), (max(c) - min(c)) or 1.0) for c in columns]
    return [tuple((v - low) / span for v, (low, span) in zip(row, spans, strict=True)) for row in zip(*columns, strict=True)]
