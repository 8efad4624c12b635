"""Selection by several objectives, from libraries: SPEA-2 and NSGA-II of deap, exact hypervolume of moocore."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from agent.fitness import Fitness, Objective
from agent.individual import Individual


class HasFitness(Protocol):
    @property
    def fitness(self) -> Fitness: ...


_Measured = TypeVar("_Measured", bound=HasFitness)


def elites(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """SPEA-2 environmental selection (Zitzler, Laumanns, Thiele 2001), best first where there is an order."""
    return _select("selSPEA2", population, objectives, count)


def parents(population: Sequence[Individual], objectives: Sequence[Objective], count: int) -> list[Individual]:
    """NSGA-II selection (Deb et al. 2002): by non-dominated rank, then by crowding distance."""
    return _select("selNSGA2", population, objectives, count)


def front(population: Iterable[_Measured], objectives: Sequence[Objective]) -> list[_Measured]:
    """The non-dominated ones, of equal fitness only the earliest, sorted by the first objective, best first."""
    kept: list[_Measured] = []
    for one in population:
        if any(k.fitness == one.fitness or k.fitness.dominates(one.fitness, objectives) for k in kept):
            continue
        kept = [k for k in kept if not one.fitness.dominates(k.fitness, objectives)] + [one]
    return sorted(kept, key=lambda i: i.fitness.minimised(objectives))


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


def _select(
    selector: str, population: Sequence[Individual], objectives: Sequence[Objective], count: int
) -> list[Individual]:
    if count >= len(population):
        return list(population)
    from deap import tools

    costs = _unit_costs([i.fitness for i in population], objectives)
    wrapped = [_Wrapped(individual, cost) for individual, cost in zip(population, costs, strict=True)]
    # deap's SPEA-2 breaks ties by the module-wide generator: a fixed state makes the choice a function of its input.
    state = random.getstate()
    random.seed(0)
    try:
        return [w.individual for w in getattr(tools, selector)(wrapped, count)]
    finally:
        random.setstate(state)


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
