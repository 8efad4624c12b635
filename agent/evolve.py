"""The search. No I/O: what it does to the world goes through two pools and `record`.

The paper's loop, `generational`:

    population <- first_population copies of the seed, each changed by one fixed-prompt mutation
    evaluate the population
    repeat for each generation:
        elites     <- SPEA-2(population)
        parents    <- NSGA-II(population)
        offspring  <- pairs of parents mated with p_mate; each one mutated with p_mutate,
                      by Evolution of Thought with p_eot, else by one fixed prompt
        evaluate the offspring
        population <- elites + offspring, without duplicates

The same decisions without waiting for the slowest of a generation, `steady`:

    repeat until enough children are born:
        breed so many children of the population as it stands that no evaluation slot will have to wait
        when a child is trained: population <- SPEA-2(population + child)

Morris, Jurado, Zutty: "LLM Guided Evolution - The Automation of Models Advancing Models", GECCO 2024, algorithms 1, 2.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, Protocol, TypeVar

from agent import selection
from agent.archive import Archive
from agent.events import Drawn, GenerationEnded, Memo, Record, Settled
from agent.gate import Halted
from agent.individual import Birth, Duplicate, Failure, Individual, Outcome, Recipe, Variant
from agent.operators import Brief, Context, Sampling, draw_eot, draw_mating, draw_mutation
from agent.population import Pace, Population
from agent.prompting import Prompts

_T = TypeVar("_T")


@dataclass(frozen=True)
class Search:
    """The rates of the search; the defaults are the paper's."""

    generations: int = 30
    first_population: int = 32
    population: int = 8
    """Offspring of each generation."""
    elites: int = 44
    eot_elites: int = 10
    """How many of the elites lend their changes to Evolution of Thought."""
    p_mate: float = 0.35
    p_mutate: float = 0.8
    p_eot: float = 0.25
    recent: int = 8
    """How many of the last evaluations a prompt shows."""
    schedule: Literal["generational", "steady"] = "steady"

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        for name in ("p_mate", "p_mutate", "p_eot"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1")
        for name in ("first_population", "population", "elites", "eot_elites"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.generations < 0 or self.recent < 0:
            raise ValueError("generations and recent cannot be negative")

    @property
    def births(self) -> int:
        """Children of a whole run; with `generational` a few less, since a child without any change is not born."""
        return self.first_population + self.generations * self.population

    @property
    def stages(self) -> int:
        """How many generations the journal will count; the first population is number 0 of `generational` only."""
        return self.generations if self.schedule == "generational" else self.births // self.population


class Breeding(Protocol):
    def submit(self, birth: Birth, context: Context) -> Future[Variant | Failure]: ...


class Evaluation(Protocol):
    def submit(self, variant: Variant) -> Future[Individual | Failure]: ...


class Evolution:
    """One run of the algorithm: the archive it fills, the pools it works through, the one source of chance."""

    def __init__(
        self,
        archive: Archive,
        brief: Brief,
        prompts: Prompts,
        sampling: Sampling,
        breeding: Breeding,
        evaluation: Evaluation,
        search: Search,
        rng: random.Random,
        record: Record,
        *,
        past: Memo | None = None,
        admit: Callable[[], bool] = lambda: True,
    ) -> None:
        """`past`: what an earlier process of the run did; `admit` is asked before each birth that is not among it."""
        self.archive, self.brief, self.search, self.rng = archive, brief, search, rng
        self._prompts, self._sampling = prompts, sampling
        self._breeding, self._evaluation, self._record = breeding, evaluation, record
        self._past, self._admit = past or Memo(), admit
        self._halted = False
        self._ids = (f"{n:04d}" for n in count(1))

    def generational(self) -> None:
        """Runs all generations, or until nothing more is admitted. Raises MachineError when a pool does."""
        s, archive = self.search, self.archive
        population = self._bring_up(self._first_population(), generation=0)
        self._close_generation(0, population, [])
        for generation in range(1, s.generations + 1):
            if self._halted:
                return
            pool = population or [archive.seed]
            elites = selection.elites(pool, archive.objectives, s.elites)
            parents = selection.parents(pool, archive.objectives, s.population)
            offspring = self._bring_up(self._vary(parents, elites), generation)
            population = list({i.id: i for i in [*elites, *offspring]}.values())
            self._close_generation(generation, population, elites)

    def steady(self, slots: int, ahead: int) -> None:
        """Runs until as many children are born as `generational` would bear, or until nothing more is admitted.

        `slots`: evaluations at once; `ahead`: at most so many more children are bred. Raises MachineError when a pool does.
        """
        population, pace = Population(self.archive, self.search), Pace(slots, ahead)
        unborn = self._unborn(population)
        breeding: dict[Future[Variant | Failure], float] = {}
        training: set[Future[Individual | Failure]] = set()
        while True:
            while pace.wants(len(breeding), len(training)) and (birth := next(unborn, None)):
                breeding[self._breeding.submit(birth, self._context(birth))] = time.monotonic()
            if not breeding and not training:
                return
            under_way: list[Future[Any]] = [*breeding, *training]
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for bred in done & breeding.keys():
                pace.bred(time.monotonic() - breeding.pop(bred))
                if (child := self._result(bred)) is None:
                    continue
                if isinstance(child, Failure):
                    self._join(population, child)
                elif twin := self.archive.claim(child):
                    self._join(population, self._settle(Duplicate(child.birth, twin)))
                else:
                    training.add(self._evaluation.submit(child))
            for trained in done & training:
                training.remove(trained)
                if outcome := self._result(trained):
                    pace.trained(outcome)
                    self._join(population, outcome)

    def _join(self, population: Population, outcome: Outcome) -> None:
        """Every `search.population` results count as a generation in the journal."""
        population.join(outcome)
        number, rest = divmod(population.joined, self.search.population)
        if not rest:
            self._close_generation(number, population.members, population.members)

    def _unborn(self, population: Population) -> Iterator[Birth | None]:
        """What an earlier process left unfinished, then a child of the population as it stands each time one is asked for.

        None while no birth is admitted.
        """
        past = self._past
        for variant in past.variants.values():
            self.archive.claim(variant)
        for outcome in past.outcomes.values():
            population.join(outcome)
        for birth in past.births.values():
            next(self._ids)
            if birth.id not in past.outcomes:
                yield birth
        for born in range(len(past.births), self.search.births):
            while not self._admit():
                yield None
            recipes = (self._mutation(self.archive.seed),) if born < self.search.first_population else self._child(population)
            birth = Birth(next(self._ids), population.joined // self.search.population, recipes)
            self._record(Drawn(birth))
            yield birth

    def _child(self, population: Population) -> tuple[Recipe, ...]:
        parents = population.parents()
        parent, partner = self.rng.choice(parents), self.rng.choice(parents)
        mated = parent is not partner and self.rng.random() < self.search.p_mate
        return self._recipes(parent, partner if mated else None, population.thinkers()) or (self._mutation(parent),)

    def _first_population(self) -> Iterator[tuple[Recipe, ...]]:
        for _ in range(self.search.first_population):
            yield (self._mutation(self.archive.seed),)

    def _vary(self, parents: Sequence[Individual], elites: Sequence[Individual]) -> Iterator[tuple[Recipe, ...]]:
        """The recipes of each offspring; a child without any recipe is its parent and is not born again."""
        s, rng = self.search, self.rng
        thinkers = selection.elites(elites, self.archive.objectives, s.eot_elites)
        cycled = [parents[i % len(parents)] for i in range(s.population)]
        rng.shuffle(cycled)
        for pair in (cycled[i : i + 2] for i in range(0, len(cycled), 2)):
            mated = len(pair) == 2 and rng.random() < s.p_mate
            for parent, partner in zip(pair, reversed(pair), strict=True):
                if recipes := self._recipes(parent, partner if mated else None, thinkers):
                    yield recipes

    def _recipes(
        self, parent: Individual, partner: Individual | None, thinkers: Sequence[Individual]
    ) -> tuple[Recipe, ...]:
        """Mated if there is a partner, then mutated with `p_mutate`, by Evolution of Thought with `p_eot`."""
        s, rng = self.search, self.rng
        recipes = [draw_mating(rng, parent, partner, self.archive.seed, self._sampling)] if partner else []
        if rng.random() < s.p_mutate:
            think = rng.random() < s.p_eot
            recipes.append((think and self._thought(parent, thinkers)) or self._mutation(parent))
        return tuple(recipe for recipe in recipes if recipe)

    def _mutation(self, parent: Individual) -> Recipe:
        return draw_mutation(self.rng, parent, self.archive.seed, self._prompts, self._sampling)

    def _thought(self, parent: Individual, elites: Sequence[Individual]) -> Recipe | None:
        return draw_eot(self.rng, parent, elites, self.archive.seed, self._sampling)

    def _bring_up(self, plans: Iterator[tuple[Recipe, ...]], generation: int) -> list[Individual]:
        """Breeds and trains all plans at once; takes the results in order of birth, so that no chance lies in timing."""
        births = []
        for recipes in plans:
            birth = Birth(next(self._ids), generation, recipes)
            if birth.id not in self._past.births and not self._admit():
                self._halted = True
                break
            self._record(Drawn(birth))
            births.append(birth)
        bred = [self._breeding.submit(birth, self._context(birth)) for birth in births]
        trained: list[Future[Individual | Failure] | Outcome] = []
        for future in bred:
            if (child := self._result(future)) is None:
                continue
            if isinstance(child, Failure):
                trained.append(child)
            elif twin := self.archive.claim(child):
                trained.append(self._settle(Duplicate(child.birth, twin)))
            else:
                trained.append(self._evaluation.submit(child))
        settled = (self._result(t) if isinstance(t, Future) else t for t in trained)
        outcomes = [outcome for outcome in settled if outcome is not None]
        for outcome in outcomes:
            self.archive.add(outcome)
        return [o for o in outcomes if isinstance(o, Individual)]

    def _result(self, future: Future[_T]) -> _T | None:
        """None for work that was not begun any more."""
        try:
            return future.result()
        except Halted:
            self._halted = True
            return None

    def _settle(self, outcome: Outcome) -> Outcome:
        self._record(Settled(outcome))
        return outcome

    def _context(self, birth: Birth) -> Context:
        named = {id for r in birth.recipes for id in (*r.parents, r.elite) if id}
        individuals = {id: self.archive.individuals[id] for id in sorted(named)}
        recent, front = self.archive.recent(self.search.recent), tuple(self.archive.front())
        return Context(self.brief, self.archive.seed, individuals, recent, front)

    def _close_generation(self, number: int, population: Sequence[Individual], elites: Sequence[Individual]) -> None:
        if self._halted:  # it was not finished: the resume will close it
            return
        self._record(
            GenerationEnded(
                number,
                tuple(i.id for i in population),
                tuple(i.id for i in elites),
                tuple(i.id for i in self.archive.front()),
                self.archive.hypervolume(),
            )
        )
