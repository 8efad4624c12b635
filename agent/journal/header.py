"""What the head of a run's journal says: its first start, with the configuration, and the seed's own fitness."""

from __future__ import annotations

from typing import Any

from agent.core.objectives import Fitness, Objective
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID


def first_start(journal: Journal) -> dict[str, Any]:
    """The data of the first `started` event; empty if the run has not started."""
    return next((data for _, _, _, data in journal.events("started")), {})


def config_of(journal: Journal) -> dict[str, Any]:
    """The configuration that the run started with; empty if it has not started."""
    config: dict[str, Any] = first_start(journal).get("config", {})
    return config


def objectives_of(journal: Journal) -> tuple[Objective, ...]:
    """In the order of the configuration; empty if the run has not started."""
    return tuple(Objective(name, direction) for name, direction in config_of(journal).get("objectives", {}).items())


def seed_fitness_of(journal: Journal) -> Fitness | None:
    """None while the seed is not trained."""
    return next((Fitness(data["fitness"]) for _, _, _, data in journal.events("settled", key=SEED_ID)), None)
