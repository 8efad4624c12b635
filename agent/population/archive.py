"""Everything that was settled in a run: who was trained, which genomes were met, what came of the last children."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.population import selection
from agent.population.candidate import Failure, Individual, Outcome, Variant
from agent.population.novelty import Novelty


class Archive:
    """Holds each trained genome once. The seed is its first member."""

    def __init__(self, seed: Individual, objectives: Sequence[Objective]) -> None:
        self.seed = seed
        self.objectives = tuple(objectives)
        self.individuals: dict[str, Individual] = {seed.id: seed}
        self.everyone = [seed]
        """The same, in the order in which they came."""
        self._novelty = Novelty(seed.genome, seed.id)
        self._measured: list[Individual | Failure] = []
        self._front: selection.Front[Individual] = selection.Front(objectives)
        self._front.add(seed)
        self._volume: float | None = None

    def claim(self, variant: Variant) -> str | None:
        """Reserves the variant's genome; the id of the child that had it before, if one had."""
        recipes = variant.candidate.recipes
        parent = self.individuals.get(recipes[0].parents[0]) if recipes else None
        return self._novelty.claim(variant.id, variant.genome, parent.genome if parent else None)

    def met(self) -> KnownPrograms:
        """What has been claimed until now, whatever is claimed later."""
        return KnownPrograms(self, self._novelty, self._novelty.count)

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Individual):
            self.individuals[outcome.id] = outcome
            self.everyone.append(outcome)
            self._novelty.claim(outcome.id, outcome.genome, None)  # a repaired one is not what was claimed
            if self._front.add(outcome):
                self._volume = None
        if isinstance(outcome, Individual | Failure):
            self._measured.append(outcome)

    def recent(self, count: int) -> tuple[Individual | Failure, ...]:
        """The last children that were measured or failed, oldest first."""
        return tuple(self._measured[-count:] if count else ())

    def front(self) -> list[Individual]:
        return list(self._front.members)

    def hypervolume(self) -> float:
        """Of the front, in units of the seed (see `selection.hypervolume`)."""
        if self._volume is None:
            fitnesses = [i.fitness for i in self._front.members]
            self._volume = selection.hypervolume(fitnesses, self.objectives, self.seed.fitness)
        return self._volume


@dataclass(frozen=True)
class KnownPrograms:
    """The genomes that were known at one moment. May be asked from several threads."""

    _archive: Archive
    _novelty: Novelty
    _before: int

    def told(self, genome: Genome, parent: Genome) -> str:
        """In words, if this genome or nearly the same one is known: `the same program as `0007`, which measured ...`."""
        if twin := self._novelty.twin(genome, self._before):
            return f"the same program as `{twin}`, {self._fate(twin)}"
        if near := self._novelty.near(genome, parent, self._before):
            return f"nearly the same program as `{near}`, {self._fate(near)}"
        return ""

    def _fate(self, id: str) -> str:
        one = self._archive.individuals.get(id)
        if one is None:
            return "which was tried already"
        return f"which measured {_values(one.fitness, self._archive.objectives)}"


def _values(fitness: Fitness, objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.name} {fitness[o.name]:.6g}" for o in objectives)
