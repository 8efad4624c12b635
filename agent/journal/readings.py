"""What is known of each trained program: the mean of all its trainings in the search, read from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.core.effects import Against
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.journal.codec import Row
from agent.journal.header import units_of
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID, Individual

KINDS = ("settled", "repeated", "reading")
"""Kinds of rows that hold a fitness on the validation split."""


@dataclass(frozen=True)
class Measured:
    """The seed or a trained variant as the search knows it."""

    id: str
    readings: tuple[Fitness, ...]
    """One for each training that measured something, the oldest first."""
    fault: str = ""
    """As in `Individual`."""

    @property
    def fitness(self) -> Fitness:
        """The mean of the readings."""
        return Fitness.mean(self.readings)

    @property
    def trainings(self) -> int:
        return len(self.readings)

    def with_row(self, data: dict[str, Any]) -> Measured:
        """After a `repeated` or `reading` row."""
        more = (Fitness(data["fitness"]),) if data["fitness"] else ()
        fault = data["reason"] if self.id != SEED_ID else ""
        return replace(self, readings=(*self.readings, *more), fault=fault)


class Measurements:
    """What is known by each moment, from the rows in their order."""

    def __init__(self) -> None:
        self._known: dict[str, Measured] = {}

    def take(self, row: Row) -> Measured | None:
        """What is known after a row of the program that it is about; None if the row measured nothing."""
        _, kind, key, data = row
        id = SEED_ID if kind == "repeated" else key.rpartition("/")[0] if kind == "reading" else key
        if kind == "settled" and "fitness" in data:
            self._known[id] = Measured(id, (Fitness(data["fitness"]),))
        elif kind in ("repeated", "reading") and id in self._known:
            self._known[id] = self._known[id].with_row(data)
        else:
            return None
        return self._known[id]


def measured(journal: Journal) -> list[Measured]:
    """The seed and every trained variant, in the order in which they settled. Raises MachineError if the journal was damaged."""
    known = Measurements()
    found = {one.id: one for row in journal.events(*KINDS) if (one := known.take(row))}
    return list(found.values())


def noise_now(journal: Journal, known: Sequence[Measured]) -> Noise | None:
    """The noise of a run, from all programs that were trained more than once; None if it was not measured before the search."""
    units = units_of(journal)
    if units is None or units.noise is None:
        return None
    return units.noise.pooled_with(one.readings for one in known if one.id != SEED_ID)


def against_parents_and_seed(
    mine: Measured, parents: Sequence[str], known: Mapping[str, Measured], objectives: Sequence[Objective], noise: Noise | None
) -> list[Against]:
    """A program against each of its parents in their order, and at the end the seed. `known`: what was measured, by id."""
    others = [known[id] for id in parents if id != SEED_ID and id in known]
    found = [_against(mine, one, f"parent {one.id}", objectives, noise) for one in others]
    return [*found, _against(mine, known[SEED_ID], "the seed", objectives, noise)] if SEED_ID in known else found


def _against(mine: Measured, other: Measured, label: str, objectives: Sequence[Objective], noise: Noise | None) -> Against:
    values = (other.fitness, other.trainings)
    if other.id == SEED_ID and noise is not None:
        values = (noise.mean_of_seed(other.fitness), noise.trainings)
    return Against.of(other.id, label, (mine.fitness, mine.trainings), values, objectives, noise)


def as_measured(individuals: Iterable[Individual], journal: Journal) -> list[Individual]:
    """The same individuals with all readings that the journal holds of them."""
    known = {one.id: one for one in measured(journal)}
    return [_with(one, known[one.id]) if one.id in known else one for one in individuals]


def _with(individual: Individual, known: Measured) -> Individual:
    readings = known.readings if known.trainings > 1 else ()
    return replace(individual, fitness=known.fitness, readings=readings, fault=known.fault)
