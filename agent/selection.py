"""Selection by several objectives: SPEA-2 elites, NSGA-II parents of deap, the front, exact hypervolume of moocore."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from operator import le
from typing import Any, Generic, Protocol, TypeVar

from agent.fitness import Fitness, Objective
from agent.individual import Individual


class HasFitness(Protocol):
    @property
    def fitness(self) -> Fitness: ...


_Measured = TypeVar("_Measured", bound=HasFitness)


def elites(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """SPEA-2 environmental selection (Zitzler, Laumanns, Thiele 2001), best first where there is an order.

    The choices of deap's `selSPEA2`, in a fortieth of its time: the steady schedule selects at each result.
    """
    if count >= len(population):
        return list(population)
    costs = _unit_costs([i.fitness for i in population], objectives)
    return [population[index] for index in spea2(costs, count)]


def parents(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """NSGA-II selection (Deb et al. 2002), of deap: by non-dominated rank, then by crowding distance."""
    if count >= len(population):
        return list(population)
    from deap import tools

    costs = _unit_costs([i.fitness for i in population], objectives)
    wrapped = [_Wrapped(individual, cost) for individual, cost in zip(population, costs, strict=True)]
    return [w.individual for w in tools.selNSGA2(wrapped, count)]


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
        # What dominates it sorts before it, what it dominates behind it.
        if any(_nowhere_worse(other, costs) for other in self._costs[: place + 1]):
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
    import moocore
    import numpy as np

    origin = np.array(seed.minimised(objectives), dtype=float)
    scale = np.where(origin == 0.0, 1.0, np.abs(origin))
    points = (np.array([f.minimised(objectives) for f in fitnesses], dtype=float) - origin) / scale
    return float(moocore.hypervolume(points, ref=np.ones(len(objectives))))


def spea2(costs: Sequence[Sequence[float]], count: int) -> list[int]:
    """Which of the points to keep, each a row of costs on comparable scales."""
    import numpy as np

    points = np.array(costs, dtype=float)
    worse = points[:, None, :] <= points[None, :, :]
    dominates = worse.all(axis=2) & ~worse.all(axis=2).T
    fits = (dominates.sum(axis=1) @ dominates).astype(float)
    chosen = np.flatnonzero(fits < 1)
    squares = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    if len(chosen) < count:
        # As deap has it: of the distances only those to later points, 0 for the others.
        near = np.sort(np.triu(squares), axis=1)[:, math.isqrt(len(points))]
        fits += 1 / (near + 2)
        rest = np.setdiff1d(np.arange(len(points)), chosen)
        return [*chosen, *rest[np.argsort(fits[rest], kind="stable")][: count - len(chosen)]]
    squares = squares[np.ix_(chosen, chosen)]
    np.fill_diagonal(squares, -1.0)
    kept = list(range(len(chosen)))
    while len(kept) > count:  # the one with the nearest neighbour goes, of several the one with the nearest second one, ...
        rows = np.sort(squares[np.ix_(kept, kept)], axis=1)
        kept.pop(int(np.lexsort(rows.T[::-1])[0]))
    return [int(chosen[index]) for index in kept]


class _Wrapped:
    """What deap expects of an individual: an attribute `fitness` of its own kind."""

    def __init__(self, individual: Individual, costs: tuple[float, ...]) -> None:
        self.individual = individual
        self.fitness = _deap_fitness(len(costs))(costs)


def _unit_costs(fitnesses: Sequence[Fitness], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Costs scaled to 0..1 in each objective: SPEA-2 measures distances, and parameters would drown accuracy."""
    columns = list(zip(*(f.minimised(objectives) for f in fitnesses), strict=True))
    spans = [(min(c), (max(c) - min(c)) or 1.0) for c in columns]
    return [tuple((v - low) / span for v, (low, span) in zip(row, spans, strict=True)) for row in zip(*columns, strict=True)]


@cache
def _deap_fitness(dimensions: int) -> Any:
    from deap import base

    return type("Costs", (base.Fitness,), {"weights": (-1.0,) * dimensions})
