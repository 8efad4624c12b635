"""A null run: every candidate is the seed with edits that change nothing, so that whatever it finds was found by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.operators.null import NullEdit
from agent.operators.splice import Splice
from agent.population.candidate import Individual, Recipe
from agent.search.recipes import RecipeSampler

SHARES: Mapping[str, float] = {"null": 0.8, "splice": 0.2}
"""The operators of a null run, by their share of the candidates. What a splice joins are null edits of the same seed."""
_NULL, _SPLICE = NullEdit(), Splice()


class NullSampler(RecipeSampler):
    """Draws a null edit, or a splice of two programs with null edits, wherever the search asks for a change."""

    def first_mutation(self, parent: Individual) -> Recipe:
        recipe = _NULL.draw(self._context(parent, block_counts=self._first_blocks))
        self._first_blocks.update(recipe.blocks)
        return self._noted(recipe)

    def first_rewrite(self, parent: Individual, number: int) -> Recipe:
        return self.first_mutation(parent)

    def replica(self, parent: Individual) -> Recipe:
        return self.mutation(parent)

    def mutation(self, parent: Individual) -> Recipe:
        return self._noted(_NULL.draw(self._context(parent)))

    def mating(self, parent: Individual, partner: Individual) -> Recipe | None:
        recipe = _SPLICE.draw(self._context(parent, partner))
        return recipe and self._noted(recipe)

    def evolution_of_thought(self, parent: Individual, elites: Sequence[Individual]) -> Recipe | None:
        return None
