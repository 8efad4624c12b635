"""All results of a run: the trained individuals, the genomes that are known, and the last outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.population import selection
from agent.population.candidate import Failure, Individual, Outcome, Variant
from agent.population.novelty import Novelty


class Archive:
    """Holds every trained genome once. The seed is its first member."""

    def __init__(self, seed: Individual, objectives: Sequence[Objective]) -> None:
        self.seed = seed
        self.objectives = tuple(objectives)
        self.individuals: dict[str, Individual] = {seed.id: seed}
        self.everyone = [seed]
        """All individuals, in the order in which they were added."""
        self._novelty = Novelty(seed.genome, seed.id)
        self._measured: list[Individual | Failure] = []
        self._front: selection.Front[Individual] = selection.Front(objectives)
        self._front.add(seed)
        self._volume: float | None = None

    def claim(self, variant: Variant) -> str | None:
        """Reserve the variant's genome. Returns the id of the candidate that had this genome before, or None if it is new."""
        recipes = variant.candidate.recipes
        parent = self.individuals.get(recipes[0].parents[0]) if recipes else None
        return self._novelty.claim(variant.id, variant.genome, parent.genome if parent else None)

    def known_programs(self) -> KnownPrograms:
        """The genomes that have been claimed until now; genomes that are claimed later are not among them."""
        return KnownPrograms(self, self._novelty, self._novelty.count)

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Individual):
            self.individuals[outcome.id] = outcome
            self.everyone.append(outcome)
            self._novelty.claim(outcome.id, outcome.genome, None)  # a repair may have changed the genome since it was claimed
            if self._front.add(outcome):
                self._volume = None
        if isinstance(outcome, Individual | Failure):
            self._measured.append(outcome)

    def recent(self, count: int) -> tuple[Individual | Failure, ...]:
        """The last candidates that were measured or failed, oldest first."""
        return tuple(self._measured[-count:] if count else ())

    def front(self) -> list[Individual]:
        return list(self._front.members)

    def hypervolume(self) -> float:
        """The hypervolume of the front, in units of the seed's (see `selection.hypervolume`)."""
        if self._volume is None:
            fitnesses = [i.fitness for i in self._front.members]
            self._volume = selection.hypervolume(fitnesses, self.objectives, self.seed.fitness)
        return self._volume


@dataclass(frozen=True)
class KnownPrograms:
    """The genomes that were known at one moment. Safe to use from several threads."""

    _archive: Archive
    _novelty: Novelty
    _before: int

    def describe(self, genome: Genome, parent: Genome) -> str:
        """Text for a prompt if this genome or nearly the same one is known: `the same program as `0007`, which measured ...`.

        Empty if it is new. `parent`: the genome that this one was made from.
        """
        if twin := self._novelty.twin(genome, self._before):
            return f"the same program as `{twin}`, {self._result(twin)}"
        if near := self._novelty.near(genome, parent, self._before):
            return f"nearly the same program as `{near}`, {self._result(near)}"
        return ""

    def _result(self, id: str) -> str:
        individual = self._archive.individuals.get(id)
        if individual is None:
            return "which was tried already"
        return f"which measured {_values(individual.fitness, self._archive.objectives)}"


def _values(fitness: Fitness, objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.name} {fitness[o.name]:.6g}" for o in objectives)
