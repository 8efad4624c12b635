"""Choose operator, blocks, prompt and model of each candidate. All randomness comes from the generator that is passed in."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.operators import OPERATORS, DrawContext, EvolutionOfThought, Mate, Mutate, Sampling
from agent.operators.changes import Measured
from agent.operators.rewrite import Rewrite
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe
from agent.search.bandit import Bandits
from agent.search.plateau import BOLD, Plateau

_MUTATE, _MATE, _EVOLUTION_OF_THOUGHT, _REWRITE = Mutate(), Mate(), EvolutionOfThought(), Rewrite()
"""The operators of the paper, which its schedule calls by rates, and the one that makes the first population."""
_FIRST_DIRECTIVES = (None, "uncommon", None, "reduce_size", None, "significant")
"""The directives of the first rewrites, as far as there are such; the others follow. None: free."""
_SHRINKING = "reduce_size"
"""The directive that a block without parameters cannot follow."""


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
        """What operators choose from that put changes together, or must not make what is known. Controls do not see it."""
        self._together: list[Recipe] = []
        self.any_block = False
        """Whether one-line functions are rewritten too, as in the paper."""
        self.offspring: Counter[str] = Counter()
        """How often each individual was the first parent of a candidate."""
        self._seed, self._prompts, self._sampling = seed, prompts, sampling
        self._first_blocks: Counter[str] = Counter()
        """How often the first population drew each block so far."""
        self._asked: defaultdict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
        """The directives that were given for each (parent, blocks)."""

    def restore(self, recipe: Recipe) -> None:
        """Take in a recipe that an earlier process drew."""
        self.bandits.record_draws(recipe)
        self._note(recipe)

    def first_mutation(self, parent: Individual) -> Recipe:
        """A mutation for the first population. Every block gets its turn: the population is too small to leave that to chance."""
        recipe = _MUTATE.draw(self._context(parent, block_counts=self._first_blocks))
        self._first_blocks.update(recipe.blocks)
        return self._with_bandit_choices(recipe)

    def first_rewrite(self, parent: Individual, number: int) -> Recipe:
        """A rewrite for the first population, number 0 first: free, then with one directive after the other."""
        known = self.bandits.directives.arms
        named = [one for one in _FIRST_DIRECTIVES if one is None or one in known]
        turns = [*named, *(one for one in known if one not in named)]
        recipe = _REWRITE.draw(self._context(parent))
        directive = turns[number % len(turns)]
        self.bandits.operators.record_draw(recipe.operator)
        if directive is not None:
            self.bandits.directives.record_draw(directive)
        role = self.bandits.roles.draw(self.rng) if directive is not None else None
        return self._noted(replace(recipe, directive=directive, role=role, model=self.bandits.draw_model(self.rng)))

    def replica(self, parent: Individual) -> Recipe:
        """A free rewrite: of one parent always the same prompt."""
        recipe = replace(_REWRITE.draw(self._context(parent)), directive=None, role=None)
        return self._noted(replace(recipe, model=self.bandits.draw_model(self.rng)))

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

    def by_any_operator(
        self, parent: Individual, partner: Individual, elites: Sequence[Individual], only: Collection[str] = ()
    ) -> Recipe:
        """A recipe by an operator that the bandit chooses; an operator that finds nothing to work on is skipped.

        `only`: the operators to choose from, if not from all.
        """
        context = self._context(parent, partner, elites)
        context = replace(context, measured=None if only else self.measured, together=tuple(self._together))
        idle = {name for name in self.bandits.operators.arms if only and name not in only}
        while set(self.bandits.operators.arms) - idle:
            name = self.bandits.draw_operator(self.rng, idle)
            if recipe := OPERATORS[name].draw(context):
                return self._with_bandit_choices(recipe)
            self.bandits.operators.cancel(name)
            idle.add(name)
        return self.mutation(parent)

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
        return DrawContext(*fixed, self.view(parent), partner, elites, block_counts, single_block, any_block=self.any_block)

    def _with_bandit_choices(self, recipe: Recipe) -> Recipe:
        """The same recipe with a model and, if it has a directive, a prompt that the bandits choose by their results.

        A recipe without a model stays as it is.
        """
        if not recipe.model:
            return self._noted(recipe)
        recipe = replace(recipe, model=self.bandits.draw_model(self.rng))
        if recipe.directive is not None:
            role, directive = self.bandits.draw_prompt(self.rng, self._avoided(recipe))
            recipe = replace(recipe, role=role, directive=directive)
        return self._noted(self.plateau.hotter(recipe))

    def _avoided(self, recipe: Recipe) -> set[str]:
        """Directives that this recipe should not get, as long as others are left: those that this parent and these blocks had
        already, one that does not fit the block, and on a plateau the cautious ones."""
        arms = {*self.bandits.directives.arms}
        avoided = {one for one in arms if not one.startswith(BOLD)} if self.plateau.is_bolder(self.rng) else set[str]()
        if not self.bandits.directives.learns:
            return avoided if avoided < arms else set()
        for more in (self._unfit(recipe), self._asked[recipe.parents[0], recipe.blocks]):
            avoided = avoided | more if (avoided | more) < arms else avoided
        return avoided if avoided < arms else set()

    def _unfit(self, recipe: Recipe) -> set[str]:
        """The directive to reduce the size of a block, where the seed's measurements say that it holds no parameters."""
        sizes = self._seed.evidence.parameters_by_block
        if len(recipe.blocks) != 1 or not sizes or sizes.get(recipe.blocks[0], 0):
            return set()
        in_seed = {block.name for block in self._seed.genome.all_blocks}
        return {_SHRINKING} & {*self.bandits.directives.arms} if recipe.blocks[0] in in_seed else set()

    def _noted(self, recipe: Recipe) -> Recipe:
        self._note(recipe)
        return recipe

    def _note(self, recipe: Recipe) -> None:
        self.offspring[recipe.parents[0]] += 1
        self._together += [recipe] if recipe.sources else []
        if recipe.directive is not None:
            self._asked[recipe.parents[0], recipe.blocks].add(recipe.directive)
