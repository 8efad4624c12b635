"""How a child is asked for: which operator, prompt and model, drawn by what each of them brought so far."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from agent.competition import Competition
from agent.individual import Individual, Recipe
from agent.operators import Sampling, draw_eot, draw_mating, draw_mutation, draw_rewrite, draw_splice
from agent.plateau import BOLD, Plateau
from agent.prompting import Prompts

WHOLE = 0.5
"""This share of the thoughts is over the whole program, where operators compete."""


class Draws:
    """All chance comes from the one generator that is passed in; with `uniform` policies these are the paper's draws."""

    def __init__(
        self,
        rng: random.Random,
        seed: Individual,
        prompts: Prompts,
        sampling: Sampling,
        competition: Competition,
        plateau: Plateau,
    ) -> None:
        self.rng, self.plateau = rng, plateau
        self._seed, self._prompts, self._sampling, self._competition = seed, prompts, sampling, competition
        self._first: Counter[str] = Counter()
        """Blocks that the first population got so far."""

    def first(self, parent: Individual) -> Recipe:
        """Of the first population: every block has its turn, since so few children of one parent leave no room for luck."""
        recipe = draw_mutation(self.rng, parent, self._seed, self._prompts, self._sampling, self._first)
        self._first.update(recipe.blocks)
        return self._by_merit(recipe)

    def mutation(self, parent: Individual) -> Recipe:
        return self._by_merit(draw_mutation(self.rng, parent, self._seed, self._prompts, self._sampling))

    def mating(self, parent: Individual, partner: Individual) -> Recipe | None:
        """None if the two do not differ in any block."""
        recipe = draw_mating(self.rng, parent, partner, self._seed, self._sampling)
        return recipe and self._by_merit(recipe)

    def thought(self, parent: Individual, elites: Sequence[Individual], *, whole: bool = False) -> Recipe | None:
        """None if no elite has anything to teach this parent. `whole`: over the whole program."""
        recipe = draw_eot(self.rng, parent, elites, self._seed, self._sampling, whole=whole)
        return recipe and self._by_merit(recipe)

    def contested(self, parent: Individual, partner: Individual, elites: Sequence[Individual]) -> Recipe:
        """One recipe by one operator; the operators compete, and one that has nothing to work on is passed over."""
        idle: set[str] = set()
        while set(self._competition.operators.arms) - idle:
            name = self._competition.draw_operator(self.rng, idle)
            if recipe := self._by(name, parent, partner, elites):
                return recipe
            self._competition.operators.cancel(name)
            idle.add(name)
        return self.mutation(parent)

    def _by(self, operator: str, parent: Individual, partner: Individual, elites: Sequence[Individual]) -> Recipe | None:
        match operator:
            case "mutate":
                return self.mutation(parent)
            case "eot":
                return self.thought(parent, elites, whole=self.rng.random() < WHOLE)
            case "rewrite":
                return self._by_merit(draw_rewrite(self.rng, parent, self._prompts, self._sampling))
            case "mate" if partner is not parent:
                return self.mating(parent, partner)
            case "splice" if partner is not parent:
                return draw_splice(self.rng, parent, partner, self._seed)
        return None

    def _by_merit(self, recipe: Recipe) -> Recipe:
        """What competes is drawn by what it brought; all else of the recipe stays as it was drawn."""
        recipe = replace(recipe, model=self._competition.draw_model(self.rng))
        if recipe.directive is not None:
            tame = self._tame() if self.plateau.turns(self.rng) else ()
            role, directive = self._competition.draw_prompt(self.rng, tame)
            recipe = replace(recipe, role=role, directive=directive)
        return self.plateau.heated(recipe)

    def _tame(self) -> Sequence[tuple[str | None, str]]:
        """The prompts that are not bold; none if there is no bold one."""
        arms = self._competition.prompts.arms
        tame = [prompt for prompt in arms if not prompt[1].startswith(BOLD)]
        return tame if len(tame) < len(arms) else []
