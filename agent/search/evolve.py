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
`agent/run/loop.py` and `steady_loop.py` breed, train, journal, stop and resume. Additions to the paper: if `search.operators`
has shares, each candidate is made by one operator, which a bandit chooses by its results so far; and `search.parents` may name
another way to choose parents (`parents.py`). `steady.py` does not wait for the slowest candidate of a generation.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from agent.population import selection
from agent.population.archive import Archive
from agent.population.candidate import Individual, Recipe
from agent.search.parents import Parents
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings

SINGLE = ("mutate", "rewrite")
"""The operators that need nothing but one program: those of the controls."""
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
    archive: Archive, settings: SearchSettings, sampler: RecipeSampler
) -> Generator[Generation, Sequence[Individual], None]:
    """Yield each generation; `send` takes the individuals that were trained from its plans, which the archive has by then."""
    seed, objectives, parents = archive.seed, archive.objectives, Parents(archive, settings, sampler)
    first = Generation(0, tuple(first_plan(seed, settings, sampler, number) for number in range(settings.first)))
    population = first.population((yield first))
    for number in range(1, settings.generations + 1):
        pool = population or [seed]
        elites = selection.elites(pool, objectives, settings.elites)
        if settings.strategy == "evolution" and settings.parents == "nsga2":
            selected = selection.parents(pool, objectives, settings.population)
            exemplars = selection.elites(elites, objectives, settings.eot_elites)
            plans = tuple(_offspring(selected, exemplars, settings, sampler))
        else:
            before = settings.first + (number - 1) * settings.population
            plans = tuple(next_plan(parents, settings, sampler, before + place) for place in range(settings.population))
        generation = Generation(number, plans, tuple(elites))
        population = generation.population((yield generation))


def first_plan(seed: Individual, settings: SearchSettings, sampler: RecipeSampler, number: int = 0) -> Plan:
    """A child of the seed, number 0 first: the mutation of any block as in the paper, or of each block in turn; or a rewrite
    of the whole program, by one directive after the other. An operator without a share makes no child."""
    if settings.strategy == "replicate":
        return (sampler.replica(seed),)
    shares = settings.shares or {"mutate": 1.0}
    name = "mutate" if not settings.shares or settings.first_operator == "mutate" else "rewrite"
    if not shares.get(name):
        return (sampler.by_any_operator(seed, seed, ()),)
    if name == "rewrite":
        return (sampler.first_rewrite(seed, number),)
    return (sampler.first_mutation(seed) if settings.spread_first_population else sampler.mutation(seed),)


EARLY = 5
"""Until so many children are measured only rewrites are made: there is little yet to learn from or to put together."""


def next_plan(parents: Parents, settings: SearchSettings, sampler: RecipeSampler, number: int) -> Plan:
    """The plan of a candidate after the first population. `number`: how many were proposed before it."""
    seed = parents.archive.seed
    match settings.strategy:
        case "replicate":
            return (sampler.replica(seed),)
        case "random-sampling":
            parent, partner, exemplars = seed, seed, list[Individual]()
        case "best-of-n":
            parent = partner = parents.best()
            exemplars = []
        case "evolution":
            parent = parents.draw(number)
            partner, exemplars = parents.partner(parent), parents.exemplars()
    early = len(parents.archive.everyone) <= EARLY
    return plan_of(parent, partner, exemplars, settings, sampler, early=early)


def plan_of(
    parent: Individual,
    partner: Individual,
    exemplars: Sequence[Individual],
    settings: SearchSettings,
    sampler: RecipeSampler,
    *,
    early: bool = False,
) -> Plan:
    """A plan by any operator, or by the paper's rates where no operator has a share. Never empty.

    `early`: whether so little is measured that only rewrites are made, where they are what begins a run.
    """
    if settings.shares:
        only: tuple[str, ...] = () if settings.strategy == "evolution" else SINGLE
        if early and settings.strategy == "evolution" and settings.first_operator == "rewrite" and settings.shares.get("rewrite"):
            only = ("rewrite",)
        return (sampler.by_any_operator(parent, partner, exemplars, only),)
    mated = parent.id != partner.id and sampler.rng.random() < settings.p_mate
    return plan_by_rates(parent, partner if mated else None, exemplars, settings, sampler) or (sampler.mutation(parent),)


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


def _offspring(
    parents: Sequence[Individual], exemplars: Sequence[Individual], settings: SearchSettings, sampler: RecipeSampler
) -> Iterator[Plan]:
    """Yield a plan for each parent. Empty plans are left out: they would give the parent again."""
    rng = sampler.rng
    shuffled = [parents[i % len(parents)] for i in range(settings.population)]
    rng.shuffle(shuffled)
    for pair in (shuffled[i : i + 2] for i in range(0, len(shuffled), 2)):
        mated = len(pair) == 2 and rng.random() < settings.p_mate
        for parent, partner in zip(pair, reversed(pair), strict=True):
            if settings.shares:
                yield (sampler.by_any_operator(parent, partner, exemplars),)
            elif plan := plan_by_rates(parent, partner if mated else None, exemplars, settings, sampler):
                yield plan
