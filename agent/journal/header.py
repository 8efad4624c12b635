"""Look up facts about a whole run in its journal: the first start, the configuration, the objectives, the seed."""

from __future__ import annotations

from typing import Any

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.journal.codec import read_sized, read_units
from agent.journal.events import NoiseMeasured, SearchSized
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


def recorded_units(journal: Journal) -> NoiseMeasured | None:
    """The noise and the scale of worth that the search goes by; None before they are fixed."""
    return next((read_units(data) for _, _, _, data in journal.events("units")), None)


def recorded_sizes(journal: Journal) -> SearchSized | None:
    """The settings of the search that the run fixed itself; None before it has."""
    return next((read_sized(data) for _, _, _, data in journal.events("sized")), None)


def units_of(journal: Journal) -> NoiseMeasured | None:
    """The same, worked out from the seed's trainings where it was not recorded; None before the seed is trained.

    Earlier versions of this program did not record it.
    """
    if recorded := recorded_units(journal):
        return recorded
    seed, objectives = seed_fitness_of(journal), objectives_of(journal)
    if seed is None:
        return None
    repeats = [Fitness(data["fitness"]) for _, _, _, data in journal.events("repeated") if data["fitness"]]
    noise = Noise.of([seed, *repeats], objectives) if repeats else None
    reference = config_of(journal).get("reference", {})
    scale = WorthScale.of(objectives, noise or Noise.unmeasured(seed, objectives), reference=reference)
    return NoiseMeasured(noise, scale)


def seed_fitness_of(journal: Journal) -> Fitness | None:
    """The seed's measured fitness; None while the seed is not trained."""
    return next((Fitness(data["fitness"]) for _, _, _, data in journal.events("settled", key=SEED_ID)), None)
