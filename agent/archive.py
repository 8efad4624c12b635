"""Everything that was settled in a run: who was trained, which genomes were met, what came of the last children."""

from __future__ import annotations

from collections.abc import Sequence

from agent import selection
from agent.fitness import Objective
from agent.individual import Failure, Individual, Outcome, Variant


class Archive:
    """Holds each trained genome once. The seed is its first member."""

    def __init__(self, seed: Individual, objectives: Sequence[Objective]) -> None:
        self.seed = seed
        self.objectives = tuple(objectives)
        self.individuals: dict[str, Individual] = {seed.id: seed}
        self._owner_of = {seed.genome.fingerprint: seed.id}
        self._measured: list[Individual | Failure] = []
        self._front = [seed]

    def claim(self, variant: Variant) -> str | None:
        """Reserves the variant's genome; the id of the child that had it before, if one had."""
        owner = self._owner_of.setdefault(variant.genome.fingerprint, variant.id)
        return None if owner == variant.id else owner

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Individual):
            self.individuals[outcome.id] = outcome
            self._front = selection.front([*self._front, outcome], self.objectives)
        if isinstance(outcome, Individual | Failure):
            self._measured.append(outcome)

    def recent(self, count: int) -> tuple[Individual | Failure, ...]:
        """The last children that were measured or failed, oldest first."""
        return tuple(self._measured[-count:] if count else ())

    def front(self) -> list[Individual]:
        return list(self._front)

    def hypervolume(self) -> float:
        """Of the front, in units of the seed (see `selection.hypervolume`)."""
        return selection.hypervolume([i.fitness for i in self.front()], self.objectives, self.seed.fitness)
