"""All results of a run: the trained individuals, the genomes that are known, and the last outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.text import format_number
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.population import selection
from agent.population.candidate import Failure, Individual, Outcome, Variant
from agent.population.novelty import Novelty


class Archive:
    """Holds every trained genome once. The seed is its first member."""

    def __init__(self, seed: Individual, objectives: Sequence[Objective], scale: WorthScale | None = None) -> None:
        """`scale`: what the worth is measured by; by default that of a run without measured noise."""
        self.seed = seed
        self.scale = scale or WorthScale.of(objectives, Noise.unmeasured(seed.fitness, objectives))
        self.objectives = tuple(objectives)
        self.individuals: dict[str, Individual] = {seed.id: seed}
        self.everyone = [seed]
        """All individuals that may be parents, in the order in which they were added."""
        self._novelty = Novelty(seed.genome, seed.id)
        self._measured: list[Individual | Failure] = []
        self._front: selection.Front[Individual] = selection.Front(objectives)
        self._front.add(seed)
        self._worth: float | None = None
        self._units: dict[str, tuple[Fitness, tuple[float, ...]]] = {}
        self.revision = 0
        """Grows with each individual that is added or trained again: what was worked out before may hold no more."""

    def units(self, individual: Individual) -> tuple[float, ...]:
        """Of each objective, how many units better than the seed it was measured."""
        known = self._units.get(individual.id)
        if known is None or known[0] is not individual.fitness:  # another training may have changed it
            known = self._units[individual.id] = individual.fitness, self.scale.units(individual.fitness)
        return known[1]

    def claim(self, variant: Variant) -> str | None:
        """Reserve the variant's genome. Returns the id of the candidate that had this genome before, or None if it is new."""
        return self._novelty.claim(variant.id, variant.genome)

    def move_claim(self, variant: Variant) -> str | None:
        """Claim the genome that a repair gave in place of the earlier one; see `Novelty.move`."""
        return self._novelty.move(variant.id, variant.genome)

    def known_programs(self) -> KnownPrograms:
        """The genomes that have been claimed until now; genomes that are claimed later are not among them."""
        return KnownPrograms(self, self._novelty, self._novelty.count)

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Individual):
            self.revision += 1
            self.individuals[outcome.id] = outcome
            self.everyone.append(outcome)
            self._novelty.move(outcome.id, outcome.genome)  # a repair may have changed the genome since it was claimed
            if self._front.add(outcome):
                self._worth = None
        if isinstance(outcome, Individual | Failure):
            self._measured.append(outcome)

    def replace(self, individual: Individual) -> None:
        """Put an individual that was trained again in place of what it was. The worth of the front may fall by that.

        One with a fault stays among the `individuals`, since others may descend from it, but leads nowhere any more.
        """
        self.revision += 1
        self.individuals[individual.id] = individual
        if individual.id == self.seed.id:
            self.seed = individual
        now = (individual if one.id == individual.id else one for one in self.everyone)
        self.everyone = [one for one in now if not one.fault]
        self._measured = [individual if one.id == individual.id else one for one in self._measured]
        self._front, self._worth = selection.Front(self.objectives), None
        for one in self.everyone:
            self._front.add(one)

    def recent(self, count: int) -> tuple[Individual | Failure, ...]:
        """The last candidates that were measured or failed, oldest first."""
        return tuple(self._measured[-count:] if count else ())

    def front(self) -> list[Individual]:
        return list(self._front.members)

    def measure_by(self, scale: WorthScale) -> None:
        """The scale of the run, once its noise is known."""
        self.scale, self._worth, self._units = scale, None, {}

    def worth(self) -> float:
        """Of the front; the seed alone has 1."""
        if self._worth is None:
            self._worth = self.scale.worth(one.fitness for one in self._front.members)
        return self._worth


@dataclass(frozen=True)
class KnownPrograms:
    """The genomes that were known at one moment. Safe to use from several threads."""

    _archive: Archive
    _novelty: Novelty
    _before: int

    def describe(self, genome: Genome) -> str:
        """Text for a prompt if this genome is known: `the same program as `0007`, which measured ...`. Empty if it is new."""
        twin = self._novelty.twin(genome, self._before)
        return f"the same program as `{twin}`, {self._result(twin)}" if twin else ""

    def owner(self, variant: Variant) -> str | None:
        """The id of the candidate whose genome this is, perhaps of the variant itself; None if it is new."""
        return self._novelty.twin(variant.genome, self._before)

    def _result(self, id: str) -> str:
        individual = self._archive.individuals.get(id)
        if individual is None:
            return "which was tried already"
        return f"which measured {_values(individual.fitness, self._archive.objectives)}"


def _values(fitness: Fitness, objectives: Sequence[Objective]) -> str:
    return ", ".join(f"{o.name} {format_number(fitness[o.name])}" for o in objectives)
