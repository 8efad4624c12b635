"""Choose operator, blocks, prompt and model of each candidate. All randomness comes from the generator that is passed in."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.operators import OPERATORS, DrawContext, EvolutionOfThought, Mate, Mutate, Sampling
from agent.operators.changes import Measured
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe
from agent.search.bandit import Bandits, Prompt
from agent.search.plateau import BOLD, Plateau

_MUTATE, _MATE, _EVOLUTION_OF_THOUGHT = Mutate(), Mate(), EvolutionOfThought()
"""The operators of the paper, which its schedule calls by rates."""


class RecipeSampler:
    """Draws recipes: operators propose them, and bandits choose operator, model and prompt.

    With bandits whose policies are all `uniform` this is the paper's sampler.
    """

    def __init__(
        self,
        rng: random.Random,
        seed: Individual,
        prompts: Prompts,
        sampling: Sampling,
        bandits: Bandits,
        plateau: Plateau,
    ) -> None:
        self.rng, self.bandits, self.plateau = rng, bandits, plateau
        self.view: Callable[[Individual], Individual] = lambda individual: individual
        """Applied to each parent first: returns it with the blocks frozen that the user wants frozen now."""
        self.measured: Measured | None = None
        """What the operators that put changes together choose from. A control strategy has no elites and must not see it."""
        self._together: list[Recipe] = []
        self._seed, self._prompts, self._sampling = seed, prompts, sampling
        self._first_blocks: Counter[str] = Counter()
        """How often the first population drew each block so far."""

    def first_mutation(self, parent: Individual) -> Recipe:
        """A mutation for the first population. Every block gets its turn: the population is too small to leave that to chance."""
        recipe = _MUTATE.draw(self._context(parent, block_counts=self._first_blocks))
        self._first_blocks.update(recipe.blocks)
        return self._with_bandit_choices(recipe)

    def mutation(self, parent: Individual) -> Recipe:
        return self._with_bandit_choices(_MUTATE.draw(self._context(parent)))

    def mating(self, parent: Individual, partner: Individual) -> Recipe | None:
        """A mating; None if the two do not differ in any block that is worth rewriting."""
        recipe = _MATE.draw(self._context(parent, partner))
        return recipe and self._with_bandit_choices(recipe)

    def evolution_of_thought(self, parent: Individual, elites: Sequence[Individual]) -> Recipe | None:
        """Evolution of Thought for one block, as in the paper. None if this parent cannot learn from any elite."""
        recipe = _EVOLUTION_OF_THOUGHT.draw(self._context(parent, elites=elites, single_block=True))
        return recipe and self._with_bandit_choices(recipe)

    def by_any_operator(self, parent: Individual, partner: Individual, elites: Sequence[Individual]) -> Recipe:
        """A recipe by an operator that the bandit chooses; an operator that finds nothing to work on is skipped."""
        context = replace(
            self._context(parent, partner, elites), measured=self.measured if elites else None, together=tuple(self._together)
        )
        idle: set[str] = set()
        while set(self.bandits.operators.arms) - idle:
            name = self.bandits.draw_operator(self.rng, idle)
            if recipe := OPERATORS[name].draw(context):
                self._together += [recipe] if recipe.sources else []
                return self._with_bandit_choices(recipe)
            self.bandits.operators.cancel(name)
            idle.add(name)
        return self.mutation(parent)

    def restore(self, recipe: Recipe) -> None:
        """Take in a recipe that an earlier process drew."""
        self.bandits.record_draws(recipe)
        self._together += [recipe] if recipe.sources else []

    def _context(
        self,
        parent: Individual,
        partner: Individual | None = None,
        elites: Sequence[Individual] = (),
        *,
        block_counts: Mapping[str, int] = MappingProxyType({}),
        single_block: bool = False,
    ) -> DrawContext:
        fixed = self.rng, self._prompts, self._sampling, self._seed
        partner = self.view(partner) if partner else None
        return DrawContext(*fixed, self.view(parent), partner, elites, block_counts, single_block)

    def _with_bandit_choices(self, recipe: Recipe) -> Recipe:
        """The same recipe with a model and, if it has a directive, a prompt that the bandits choose by their results.

        A recipe without a model stays as it is.
        """
        if not recipe.model:
            return recipe
        recipe = replace(recipe, model=self.bandits.draw_model(self.rng))
        if recipe.directive is not None:
            avoided = self._cautious_prompts() if self.plateau.is_bolder(self.rng) else ()
            role, directive = self.bandits.draw_prompt(self.rng, avoided)
            recipe = replace(recipe, role=role, directive=directive)
        return self.plateau.hotter(recipe)

    def _cautious_prompts(self) -> Sequence[Prompt]:
        """The prompts whose directives are not bold; empty if no directive is bold."""
        arms = self.bandits.prompts.arms
        cautious = [prompt for prompt in arms if not prompt[1].startswith(BOLD)]
        return cautious if len(cautious) < len(arms) else []
