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

Beyond the paper, in both: where `operators` are weighed, a child is made by one of them, drawn by what each brought so far;
prompts tell lessons of earlier children; and every result is learned from (`learning`).

Morris, Jurado, Zutty: "LLM Guided Evolution - The Automation of Models Advancing Models", GECCO 2024, algorithms 1, 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from typing import Any, Protocol, TypeVar

from agent.core.errors import Halted
from agent.journal.events import GenerationEnded, Proposed, Record, Settled
from agent.journal.replay import Replay
from agent.operators import Brief, Context
from agent.population import selection
from agent.population.archive import Archive
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Outcome, Recipe, Variant
from agent.search.feedback import Feedback
from agent.search.recipes import RecipeSampler
from agent.search.reflection import Question
from agent.search.settings import SearchSettings
from agent.search.steady import Pace, Population
from agent.search.steering import Steering

_T = TypeVar("_T")


class BreedingPool(Protocol):
    def submit(self, candidate: Candidate, context: Context) -> Future[Variant | Failure]: ...

    def ask(self, question: Question) -> Future[str]: ...


class EvaluationPool(Protocol):
    def submit(self, variant: Variant) -> Future[Individual | Failure]: ...


class Evolution:
    """One run of the algorithm: the archive it fills, the pools it works through, the one source of chance."""

    def __init__(
        self,
        archive: Archive,
        brief: Brief,
        sampler: RecipeSampler,
        breeding: BreedingPool,
        evaluation: EvaluationPool,
        learning: Feedback,
        search: SearchSettings,
        record: Record,
        *,
        steering: Steering | None = None,
        past: Replay | None = None,
        admit: Callable[[], bool] = lambda: True,
    ) -> None:
        """`past`: what an earlier process of the run did; `admit` is asked before each candidate that is not among it."""
        self.archive, self.brief, self.search, self.rng = archive, brief, search, sampler.rng
        self._sampler, self._feedback, self._steering = sampler, learning, steering
        self._breeding, self._evaluation, self._record = breeding, evaluation, record
        self._past, self._admit = past or Replay(), admit
        self._halted = False
        self._begun = 0
        self._open: dict[str, Candidate | Variant] = {}
        """Children that are not settled, as far as they are."""
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
            parents = self._parents(pool) or selection.parents(pool, archive.objectives, s.population)
            offspring = self._bring_up(self._vary(parents, elites), generation)
            population = list({i.id: i for i in [*elites, *offspring]}.values())
            self._close_generation(generation, population, elites)

    def steady(self, slots: int, ahead: int) -> None:
        """Runs until as many children are born as `generational` would bear, or until nothing more is admitted.

        `slots`: trainings at once; `ahead`: at most so many children are bred at once. Raises MachineError when a pool does.
        """
        population, pace = Population(self.archive, self.search), Pace(slots, ahead)
        pace.settled(self.archive.seed, self.archive.seed.evidence.total)
        unborn = self._unborn(population)
        breeding: dict[Future[Variant | Failure], float] = {}
        asking: dict[Future[str], Question] = {}
        training: dict[Future[Individual | Failure], float] = {}
        while True:
            while pace.wants(len(breeding), len(training)) and (candidate := next(unborn, None)):
                breeding[self._breeding.submit(candidate, self._context(candidate))] = time.monotonic()
            for question in () if self._halted else self._feedback.questions():
                asking[self._breeding.ask(question)] = question
            if not breeding and not training and not asking:
                return
            under_way: list[Future[Any]] = [*breeding, *training, *asking]
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for bred in done & breeding.keys():
                pace.bred(time.monotonic() - breeding.pop(bred))
                if (child := self._result(bred)) is None:
                    continue
                if isinstance(child, Failure):
                    pace.settled(child)
                    self._join(population, child)
                elif twin := self.archive.claim(child):
                    duplicate = self._settle(Duplicate(child.candidate, twin))
                    pace.settled(duplicate)
                    self._join(population, duplicate)
                else:
                    self._open[child.id] = child
                    training[self._evaluation.submit(child)] = time.monotonic()
            for answered in done & asking.keys():
                self._feedback.answered(asking.pop(answered), self._result(answered))
            for trained in done & training.keys():
                seconds = time.monotonic() - training.pop(trained)
                if outcome := self._result(trained):
                    pace.settled(outcome, seconds)
                    self._join(population, outcome)

    def _join(self, population: Population, outcome: Outcome) -> None:
        """Every `search.population` results count as a generation in the journal."""
        self._open.pop(outcome.id, None)
        population.join(outcome)
        self._feedback.settled(outcome)
        number, rest = divmod(population.joined, self.search.population)
        if not rest:
            self._close_generation(number, population.members, population.members)

    def _unborn(self, population: Population) -> Iterator[Candidate | None]:
        """What an earlier process left unfinished, then a child of the population as it stands each time one is asked for.

        None while no candidate is admitted.
        """
        past = self._past
        for variant in past.variants.values():
            self.archive.claim(variant)
        settled = set()
        for event in past.history:
            if isinstance(event, Individual | Failure | Duplicate):
                settled.add(event.id)
                population.join(event)
                self._feedback.settled(event)
            else:
                self._feedback.again(event)
        for candidate in past.candidates.values():
            next(self._ids)
            if candidate.id not in settled:
                yield candidate
        for born in range(len(past.candidates), self.search.candidates):
            while not self._admit():
                yield None
            self._look()
            first = born < self.search.first_population
            recipes = (self._sampler.first(self._seen(self.archive.seed)),) if first else self._child(population)
            yield self._born(recipes, population.joined // self.search.population)

    def _child(self, population: Population) -> tuple[Recipe, ...]:
        alone = self._parents(population.members)
        parents = alone or self._sampler.plateau.parents(self.rng, population.parents(), self.archive.everyone)
        exemplars = () if alone else population.exemplars()
        parent, partner = self._seen(self.rng.choice(parents)), self._seen(self.rng.choice(parents))
        if self.search.operators:
            return (self._sampler.contested(parent, partner, exemplars),)
        mated = parent.id != partner.id and self.rng.random() < self.search.p_mate
        return self._recipes(parent, partner if mated else None, exemplars) or (self._sampler.mutation(parent),)

    def _parents(self, pool: Sequence[Individual]) -> Sequence[Individual]:
        """The one that the controls breed from; none in an evolution."""
        seed = self.archive.seed
        match self.search.strategy:
            case "random-sampling":
                return [seed]
            case "best-of-n":
                return selection.elites([seed, *(i for i in pool if i.id != seed.id)], self.archive.objectives, 1)
        return []

    def _first_population(self) -> Iterator[tuple[Recipe, ...]]:
        for _ in range(self.search.first_population):
            yield (self._sampler.first(self._seen(self.archive.seed)),)

    def _vary(self, parents: Sequence[Individual], elites: Sequence[Individual]) -> Iterator[tuple[Recipe, ...]]:
        """The recipes of each offspring; a child without any recipe is its parent and is not born again."""
        s, rng = self.search, self.rng
        alone = s.strategy != "evolution"
        exemplars = [] if alone else selection.elites(elites, self.archive.objectives, s.eot_elites)
        cycled = [parents[i % len(parents)] for i in range(s.population)]
        rng.shuffle(cycled)
        for pair in (cycled[i : i + 2] for i in range(0, len(cycled), 2)):
            mated = len(pair) == 2 and not alone and rng.random() < s.p_mate
            for parent, partner in zip(pair, reversed(pair), strict=True):
                parent, partner = self._seen(parent), self._seen(partner)
                if s.operators:
                    yield (self._sampler.contested(parent, partner, exemplars),)
                elif recipes := self._recipes(parent, partner if mated else None, exemplars):
                    yield recipes

    def _recipes(
        self, parent: Individual, partner: Individual | None, exemplars: Sequence[Individual]
    ) -> tuple[Recipe, ...]:
        """Mated if there is a partner, then mutated with `p_mutate`, by Evolution of Thought with `p_eot`."""
        s, rng, sampler = self.search, self.rng, self._sampler
        recipes = [sampler.mating(parent, partner)] if partner else []
        if rng.random() < s.p_mutate:
            think = rng.random() < s.p_eot
            recipes.append((think and sampler.thought(parent, exemplars)) or sampler.mutation(parent))
        return tuple(recipe for recipe in recipes if recipe)

    def _born(self, recipes: tuple[Recipe, ...], generation: int) -> Candidate:
        parent = self.archive.individuals[recipes[0].parents[0]]
        candidate = Candidate(next(self._ids), generation, recipes, self._feedback.lessons_for(recipes, parent))
        self._record(Proposed(candidate))
        return candidate

    def _look(self) -> None:
        if self._steering:
            self._steering.look()

    def _seen(self, individual: Individual) -> Individual:
        """As the user wants it seen now."""
        return self._steering.seen(individual) if self._steering else individual

    def _bring_up(self, plans: Iterator[tuple[Recipe, ...]], generation: int) -> list[Individual]:
        """Breeds and trains all plans at once; takes the results in order of candidate, so that no chance lies in timing."""
        self._look()
        candidates: list[Candidate] = []
        for recipes in plans:
            if len(candidates) + self._begun >= len(self._past.candidates) and not self._admit():
                self._halted = True
                break
            candidates.append(self._born(recipes, generation))
        self._begun += len(candidates)
        self._open |= {candidate.id: candidate for candidate in candidates}
        bred = [self._breeding.submit(candidate, self._context(candidate)) for candidate in candidates]
        trained: list[Future[Individual | Failure] | Outcome] = []
        for future in bred:
            if (child := self._result(future)) is None:
                continue
            if isinstance(child, Failure):
                trained.append(child)
            elif twin := self.archive.claim(child):
                trained.append(self._settle(Duplicate(child.candidate, twin)))
            else:
                trained.append(self._evaluation.submit(child))
        settled = (self._result(t) if isinstance(t, Future) else t for t in trained)
        outcomes = [outcome for outcome in settled if outcome is not None]
        for outcome in outcomes:
            self._open.pop(outcome.id, None)
            self.archive.add(outcome)
            self._feedback.settled(outcome)
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

    def _context(self, candidate: Candidate) -> Context:
        self._open.setdefault(candidate.id, candidate)
        named = {id for r in candidate.recipes for id in (*r.parents, r.elite) if id}
        individuals = {id: self._seen(self.archive.individuals[id]) for id in sorted(named)}
        recent, front = self.archive.recent(self.search.recent), tuple(self.archive.front())
        learning, guidance = self._feedback, self._steering.guidance if self._steering else ""
        told, written, known = learning.told(candidate), learning.written, self.archive.known_programs()
        others = tuple(child for id, child in self._open.items() if id != candidate.id)
        return Context(self.brief, self.archive.seed, individuals, recent, front, told, guidance, written, others, known)

    def _close_generation(self, number: int, population: Sequence[Individual], elites: Sequence[Individual]) -> None:
        if self._halted:  # it was not finished: the resume will close it
            return
        if self.search.schedule == "generational":
            for question in self._feedback.questions():
                self._feedback.answered(question, self._result(self._breeding.ask(question)))
        self._record(
            GenerationEnded(
                number,
                tuple(i.id for i in population),
                tuple(i.id for i in elites),
                tuple(i.id for i in self.archive.front()),
                self.archive.hypervolume(),
            )
        )
