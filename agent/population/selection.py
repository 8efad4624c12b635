"""Selection by several objectives: SPEA-2 elites, NSGA-II parents, the front."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import le
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from agent.core.objectives import Fitness, Objective
from agent.population.candidate import Individual

if TYPE_CHECKING:
    import numpy as np


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
    """The non-dominated members of what was added, best in the first objective first; if several are equal, only the first."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = tuple(objectives)
        self._costs: list[tuple[float, ...]] = []
        self.members: list[_Measured] = []

    def add(self, member: _Measured) -> bool:
        """Add a member if nothing dominates it, and remove what it dominates. Returns whether it was added."""
        costs = member.fitness.minimised(self._objectives)
        place = bisect_left(self._costs, costs)
        # Members that dominate it sort before it, members that it dominates after it. With two objectives the second cost
        # falls along the front: if the nearest member before it does not dominate it, no other does.
        first = max(0, place - 1) if len(costs) == 2 else 0
        if any(_nowhere_worse(other, costs) for other in self._costs[first : place + 1]):
            return False
        stay = [index for index in range(place, len(self._costs)) if not _nowhere_worse(costs, self._costs[index])]
        self._costs[place:] = [costs, *(self._costs[index] for index in stay)]
        self.members[place:] = [member, *(self.members[index] for index in stay)]
        return True


def front(population: Iterable[_Measured], objectives: Sequence[Objective]) -> list[_Measured]:
    """The non-dominated members of a population, see `Front`."""
    found: Front[_Measured] = Front(objectives)
    for member in population:
        found.add(member)
    return found.members


def _nowhere_worse(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return all(map(le, a, b))


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


Costs = Sequence[tuple[float, ...]]


def spea2(costs: Costs, count: int) -> list[int]:
    """The indices to keep by SPEA-2 (Zitzler, Laumanns, Thiele 2001), best first where there is an order.

    Equal rows apart, the order of the rows decides nothing.
    """
    import numpy as np

    order = sorted(range(len(costs)), key=lambda index: costs[index])  # of rows that are ranked alike, the first in this order
    points = np.array([costs[index] for index in order], dtype=float)
    dominates = _dominance(points)
    fits = (dominates.sum(axis=1) @ dominates).astype(float)
    chosen = np.flatnonzero(fits < 1)
    distances = np.sqrt(((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2))
    if len(chosen) < count:
        nearest = np.sort(distances, axis=1)[:, math.isqrt(len(points))]  # in column 0 stands the distance to itself
        fits += 1 / (nearest + 2)
        rest = np.flatnonzero(fits >= 1)
        chosen = np.concatenate([chosen, rest[np.argsort(fits[rest], kind="stable")][: count - len(chosen)]])
        return [order[index] for index in chosen]
    distances = distances[np.ix_(chosen, chosen)]
    np.fill_diagonal(distances, -1.0)
    kept = list(range(len(chosen)))
    while len(kept) > count:  # drop the one with the nearest neighbour; if several, by the second neighbour, ...
        rows = np.sort(distances[np.ix_(kept, kept)], axis=1)
        kept.pop(int(np.lexsort(rows.T[::-1])[0]))
    return [order[chosen[index]] for index in kept]


def nsga2(costs: Costs, count: int) -> list[int]:
    """The indices of the parents by NSGA-II (Deb et al. 2002): by non-dominated rank; in the last rank the least crowded."""
    import numpy as np

    groups: dict[tuple[float, ...], list[int]] = {}
    for index, row in enumerate(costs):
        groups.setdefault(row, []).append(index)
    members = list(groups.values())
    dominates = _dominance(np.array(list(groups), dtype=float))
    left = dominates.sum(axis=0)
    front = [int(group) for group in np.flatnonzero(left == 0)]
    chosen: list[int] = []
    while True:
        rank = [index for group in front for index in members[group]]
        if len(chosen) + len(rank) >= count:
            break
        chosen += rank
        following = []
        for group in front:
            for beaten in np.flatnonzero(dominates[group]):
                left[beaten] -= 1
                if not left[beaten]:
                    following.append(int(beaten))
        front = following
    distances = _crowding_distances([costs[index] for index in rank])
    order = sorted(range(len(rank)), key=lambda index: distances[index], reverse=True)
    return [*chosen, *(rank[index] for index in order[: count - len(chosen)])]


def _dominance(points: np.ndarray) -> np.ndarray:
    """[i, j]: row i is nowhere worse than row j and somewhere better."""
    import numpy as np

    no_worse = (points[:, None, :] <= points[None, :, :]).all(axis=2)
    return np.logical_and(no_worse, ~no_worse.T)


def _crowding_distances(rows: Costs) -> list[float]:
    """How far the neighbours of each row lie apart in all columns together; infinite at the ends."""
    room = [0.0] * len(rows)
    order = list(range(len(rows)))
    for column in range(len(rows[0])):
        order.sort(key=lambda place: rows[place][column])
        first, last = rows[order[0]][column], rows[order[-1]][column]
        room[order[0]] = room[order[-1]] = math.inf
        if last > first:
            for before, place, after in zip(order, order[1:], order[2:], strict=False):
                room[place] += (rows[after][column] - rows[before][column]) / (len(rows[0]) * (last - first))
    return room
