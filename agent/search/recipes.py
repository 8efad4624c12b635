"""How a candidate is asked for: which operator, blocks, prompt and model. All chance comes from the one generator passed in."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from agent.operators.compare import differing, plain
from agent.operators.splice import units
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe
from agent.search.bandit import Bandits
from agent.search.plateau import BOLD, Plateau

WHOLE = 0.5
"""This share of the thoughts is over the whole program, where operators compete."""


class RecipeSampler:
    """All chance comes from the one generator that is passed in; with `uniform` policies these are the paper's sampler."""

    def __init__(
        self,
        rng: random.Random,
        seed: Individual,
        prompts: Prompts,
        sampling: Sampling,
        bandits: Bandits,
        plateau: Plateau,
    ) -> None:
        self.rng, self.plateau = rng, plateau
        self.view: Callable[[Individual], Individual] = lambda individual: individual
        """How the user wants individuals seen now: with which blocks frozen."""
        self._seed, self._prompts, self._sampling, self.bandits = seed, prompts, sampling, bandits
        self._first: Counter[str] = Counter()
        """Blocks that the first population got so far."""

    def first(self, parent: Individual) -> Recipe:
        """Of the first population: every block has its turn, since so few children of one parent leave no room for luck."""
        recipe = draw_mutation(self.rng, self.view(parent), self._seed, self._prompts, self._sampling, self._first)
        self._first.update(recipe.blocks)
        return self._by_merit(recipe)

    def mutation(self, parent: Individual) -> Recipe:
        return self._by_merit(draw_mutation(self.rng, self.view(parent), self._seed, self._prompts, self._sampling))

    def mating(self, parent: Individual, partner: Individual) -> Recipe | None:
        """None if the two do not differ in any block."""
        recipe = draw_mating(self.rng, self.view(parent), self.view(partner), self._seed, self._sampling)
        return recipe and self._by_merit(recipe)

    def thought(self, parent: Individual, elites: Sequence[Individual], *, whole: bool = False) -> Recipe | None:
        """None if no elite has anything to teach this parent. `whole`: over the whole program."""
        recipe = draw_eot(self.rng, self.view(parent), elites, self._seed, self._sampling, whole=whole)
        return recipe and self._by_merit(recipe)

    def contested(self, parent: Individual, partner: Individual, elites: Sequence[Individual]) -> Recipe:
        """One recipe by one operator; the operators compete, and one that has nothing to work on is passed over."""
        idle: set[str] = set()
        while set(self.bandits.operators.arms) - idle:
            name = self.bandits.draw_operator(self.rng, idle)
            if recipe := self._by(name, parent, partner, elites):
                return recipe
            self.bandits.operators.cancel(name)
            idle.add(name)
        return self.mutation(parent)

    def _by(self, operator: str, parent: Individual, partner: Individual, elites: Sequence[Individual]) -> Recipe | None:
        match operator:
            case "mutate":
                return self.mutation(parent)
            case "eot":
                return self.thought(parent, elites, whole=self.rng.random() < WHOLE)
            case "rewrite":
                return self._by_merit(draw_rewrite(self.rng, self.view(parent), self._prompts, self._sampling))
            case "mate" if partner is not parent:
                return self.mating(parent, partner)
            case "splice" if partner is not parent:
                return draw_splice(self.rng, self.view(parent), self.view(partner), self._seed)
        return None

    def _by_merit(self, recipe: Recipe) -> Recipe:
        """What competes is drawn by what it brought; all else of the recipe stays as it was drawn."""
        recipe = replace(recipe, model=self.bandits.draw_model(self.rng))
        if recipe.directive is not None:
            tame = self._tame() if self.plateau.turns(self.rng) else ()
            role, directive = self.bandits.draw_prompt(self.rng, tame)
            recipe = replace(recipe, role=role, directive=directive)
        return self.plateau.heated(recipe)

    def _tame(self) -> Sequence[tuple[str | None, str]]:
        """The prompts that are not bold; none if there is no bold one."""
        arms = self.bandits.prompts.arms
        tame = [prompt for prompt in arms if not prompt[1].startswith(BOLD)]
        return tame if len(tame) < len(arms) else []


@dataclass(frozen=True)
class Sampling:
    """How LLMs are asked. A range is drawn from uniformly, both ends included."""

    models: tuple[str, ...]
    temperature: tuple[float, float] | None = None
    """None: not sent, the provider's default."""
    max_tokens: tuple[int, int] | None = None
    """None: the model's own default."""

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """The part of a recipe that every operator has: `model`, `seed`, `temperature`, `max_tokens`."""
        return {
            "model": rng.choice(self.models),
            "seed": rng.randrange(2**31),
            "temperature": round(rng.uniform(*self.temperature), 3) if self.temperature else None,
            "max_tokens": rng.randint(*self.max_tokens) if self.max_tokens else None,
        }


def draw_mutation(
    rng: random.Random,
    parent: Individual,
    seed: Individual,
    prompts: Prompts,
    sampling: Sampling,
    drawn: Mapping[str, int] = MappingProxyType({}),
) -> Recipe:
    """Any block of the parent that is worth it, any directive, any role or none, each alike.

    `drawn`: how often blocks were drawn already, where all are to have their turn: the block is one of those drawn least.
    """
    worth = _worth(parent, seed)
    least = min(drawn.get(name, 0) for name in worth)
    return Recipe(
        operator="mutate",
        parents=(parent.id,),
        blocks=(rng.choice([name for name in worth if drawn.get(name, 0) == least]),),
        directive=rng.choice(sorted(prompts.directives)),
        role=rng.choice([None, *sorted(prompts.roles)]),
        **sampling.draw(rng),
    )


def draw_mating(
    rng: random.Random, a: Individual, b: Individual, seed: Individual, sampling: Sampling
) -> Recipe | None:
    """Any block in which the two parents differ and that is worth it in both. None if there is none."""
    worth = {*_worth(a, seed)} & {*_worth(b, seed)}
    blocks = [name for name in differing(a.genome, b.genome) if name in worth]
    if not blocks:
        return None
    return Recipe(operator="mate", parents=(a.id, b.id), blocks=(rng.choice(blocks),), **sampling.draw(rng))


def draw_eot(
    rng: random.Random,
    parent: Individual,
    elites: Sequence[Individual],
    seed: Individual,
    sampling: Sampling,
    *,
    whole: bool = False,
) -> Recipe | None:
    """Any elite that differs from the seed, any block in which it does, any other block of the parent to rewrite.

    Both blocks are live, for a dead one has nothing to teach. None if no elite differs from the seed in such a block,
    or the parent has no other. `whole`: all that the elite changed is shown, and any of the blocks may be rewritten.
    """
    changed = [(elite, [n for n in differing(elite.genome, seed.genome) if n in _live(elite)]) for elite in elites]
    candidates = [(elite, blocks) for elite, blocks in changed if blocks]
    if whole:  # the parent has its own change already
        candidates = [(elite, blocks) for elite, blocks in candidates if elite.id != parent.id] or candidates
    if not candidates:
        return None
    elite, blocks = rng.choice(candidates)
    if whole:
        return Recipe(operator="eot", parents=(parent.id,), blocks=(), elite=elite.id, **sampling.draw(rng))
    example = rng.choice(blocks)
    targets = [name for name in _worth(parent, seed) if name != example]
    if not targets:
        return None
    return Recipe(
        operator="eot",
        parents=(parent.id,),
        blocks=(rng.choice(targets),),
        elite=elite.id,
        example=example,
        **sampling.draw(rng),
    )


def draw_rewrite(rng: random.Random, parent: Individual, prompts: Prompts, sampling: Sampling) -> Recipe:
    """Of any blocks; half of the time freely, else by any directive, in any role or none."""
    free = rng.random() < 0.5
    return Recipe(
        operator="rewrite",
        parents=(parent.id,),
        blocks=(),
        directive=None if free else rng.choice(sorted(prompts.directives)),
        role=None if free else rng.choice([None, *sorted(prompts.roles)]),
        **sampling.draw(rng),
    )


def draw_splice(rng: random.Random, a: Individual, b: Individual, seed: Individual) -> Recipe | None:
    """Every choice of blocks of B into A is as likely, with at least one of each; some must come together (see `units`).

    None if there is no choice.
    """
    parts = units(a, b, seed)
    if len(parts) < 2:
        return None
    chosen = rng.randrange(1, 2 ** len(parts) - 1)  # as bits: neither none nor all
    blocks = tuple(name for number, unit in enumerate(parts) if chosen >> number & 1 for name in unit)
    return Recipe(operator="splice", parents=(a.id, b.id), blocks=blocks, model="", seed=rng.randrange(2**31))


def _worth(individual: Individual, seed: Individual) -> list[str]:
    """The live blocks without those that are part of another: functions that answers brought along as helpers.

    Three lines that shuffle channels hold no values and no structure to evolve; classes and what the framework calls do.
    """
    own = {block.name for block in seed.genome.all_blocks}
    live = individual.genome.live_blocks
    worth = [b.name for b in live if b.kind == "class" or b.name in own or plain(b.name) in seed.genome.entry_points]
    return worth or [block.name for block in live]


def _live(individual: Individual) -> set[str]:
    return {block.name for block in individual.genome.live_blocks}
