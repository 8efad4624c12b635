"""Look up facts about a whole run in its journal: the first start, the configuration, the objectives, the seed."""

from __future__ import annotations

from typing import Any

from agent.core.objectives import Fitness, Objective
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID


def first_start(journal: Journal) -> dict[str, Any] | None:
    """The data of the first `started` row: `config`, `isolation`, `layers`, `devices`, ...; None before the first start."""
    return next((data for _, _, _, data in journal.events("started")), None)


def config_of(journal: Journal) -> dict[str, Any]:
    """The configuration the run was first started with, as nested tables; empty before the first start."""
    start = first_start(journal)
    return dict(start["config"]) if start else {}


def objectives_of(journal: Journal) -> tuple[Objective, ...]:
    """The run's objectives in their configured order; empty before the first start.

    `Objective.reported` is left empty: only the task knows which metrics are self-reported.
    """
    return tuple(Objective(name, direction) for name, direction in config_of(journal).get("objectives", {}).items())


def seed_fitness_of(journal: Journal) -> Fitness | None:
    """The seed's measured fitness; None while the seed is not trained."""
    return next((Fitness(data["fitness"]) for _, _, _, data in journal.events("settled", key=SEED_ID)), None)
