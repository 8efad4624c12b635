"""The paper's algorithm, and nothing else: Morris, Jurado, Zutty, "LLM Guided Evolution - The Automation of Models
Advancing Models", GECCO 2024, algorithms 1 and 2.

    population <- copies of the seed, each changed by one fixed-prompt mutation
    evaluate the population
    repeat for each generation:
        elites     <- SPEA-2(population)
        parents    <- NSGA-II(population)
        offspring  <- pairs of parents mated with p_mate; each one mutated with p_mutate,
                      by Evolution of Thought with p_eot, else by one fixed prompt
        evaluate the offspring
        population <- elites + offspring, without duplicates

This module only decides: `generations` yields plans and is sent the individuals that were trained from them.
`agent/run/loop.py` breeds, trains, journals, stops and resumes. An addition to the paper: if `search.operators` has shares,
each candidate is made by one operator, which a bandit chooses by its results so far. `steady.py` is the version that does
not wait for the slowest candidate of a generation.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from agent.core.objectives import Objective
from agent.population import selection
from agent.population.candidate import Individual, Recipe
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings

Plan = tuple[Recipe, ...]
"""How to make one candidate: its recipes, applied in order. A candidate that is mated and then mutated has two."""


@dataclass(frozen=True)
class Generation:
    """The plans to try next."""

    number: int
    """0 for the first population."""
    plans: tuple[Plan, ...]
    elites: tuple[Individual, ...] = ()

    def population(self, offspring: Sequence[Individual]) -> list[Individual]:
        """The elites and the trained offspring, each once and as it was given last; without those that may not lead."""
        everyone = {one.id: one for one in [*self.elites, *offspring]}
        return [one for one in everyone.values() if not one.fault]


def generations(
    seed: Individual, objectives: Sequence[Objective], settings: SearchSettings, sampler: RecipeSampler
) -> Generator[Generation, Sequence[Individual], None]:
    """Yield each generation; `send` takes the individuals that were trained from its plans."""
    first = Generation(0, tuple(first_plan(seed, settings, sampler) for _ in range(settings.first_population)))
    population = first.population((yield first))
    for number in range(1, settings.generations + 1):
        pool = population or [seed]
        elites = selection.elites(pool, objectives, settings.elites)
        parents = control_parents(seed, pool, objectives, settings) or selection.parents(pool, objectives, settings.population)
        exemplars = selection.elites(elites, objectives, settings.eot_elites) if settings.strategy == "evolution" else []
        generation = Generation(number, tuple(_offspring(parents, exemplars, settings, sampler)), tuple(elites))
        population = generation.population((yield generation))


def first_plan(seed: Individual, settings: SearchSettings, sampler: RecipeSampler) -> Plan:
    """One fixed-prompt mutation of the seed: of any block as in the paper, or of each block in turn."""
    return (sampler.first_mutation(seed) if settings.spread_first_population else sampler.mutation(seed),)


def plan_by_rates(
    parent: Individual,
    partner: Individual | None,
    exemplars: Sequence[Individual],
    settings: SearchSettings,
    sampler: RecipeSampler,
) -> Plan:
    """A plan by the paper's rates: mate if there is a partner, then mutate with probability `p_mutate`, by Evolution of Thought
    with probability `p_eot`. The plan may be empty."""
    recipes = [sampler.mating(parent, partner)] if partner else []
    if sampler.rng.random() < settings.p_mutate:
        think = sampler.rng.random() < settings.p_eot
        recipes.append((think and sampler.evolution_of_thought(parent, exemplars)) or sampler.mutation(parent))
    return tuple(recipe for recipe in recipes if recipe)


def control_parents(
    seed: Individual, pool: Sequence[Individual], objectives: Sequence[Objective], settings: SearchSettings
) -> Sequence[Individual]:
    """The only parent of a control strategy: the seed for random sampling, the best for best-of-n. Empty for an evolution."""
    match settings.strategy:
        case "random-sampling":
            return [seed]
        case "best-of-n":
            return selection.elites([seed, *(one for one in pool if one.id != seed.id)], objectives, 1)
    return []


def _offspring(
    parents: Sequence[Individual], exemplars: Sequence[Individual], settings: SearchSettings, sampler: RecipeSampler
) -> Iterator[Plan]:
    """Yield a plan for each parent. Empty plans are left out: they would give the parent again."""
    rng = sampler.rng
    shuffled = [parents[i % len(parents)] for i in range(settings.population)]
    rng.shuffle(shuffled)
    for pair in (shuffled[i : i + 2] for i in range(0, len(shuffled), 2)):
        mated = len(pair) == 2 and settings.strategy == "evolution" and rng.random() < settings.p_mate
        for parent, partner in zip(pair, reversed(pair), strict=True):
            if settings.operators:
                yield (sampler.by_any_operator(parent, partner, exemplars),)
            elif plan := plan_by_rates(parent, partner if mated else None, exemplars, settings, sampler):
                yield plan
