"""One simulated search: the real decisions of `agent/search`, without git, sandbox and journal, on a `World`.

Real: `steady` or `generations`, `Population`, `Archive`, `RecipeSampler`, `Bandits`, `Plateau`, `Feedback`, the operators'
draws and the selections. Simulated: answers and trainings. Results come back after `LAG` later proposals, as with one slot
and answers that are faster than a training. No lesson is kept: here nothing reads them.
"""

from __future__ import annotations

import json
import math
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from policy_landscape import PARAMETERS, Fit
from policy_programs import NOISE, OBJECTIVES, SCALE, World

from agent.core.paths import prompts_folder
from agent.journal.events import Answered, Proposed, Settled
from agent.journal.tracker import Tracker
from agent.llm import Completion, Usage
from agent.memory import Lesson
from agent.memory.lesson import verdict
from agent.operators import Sampling
from agent.operators.templates import Prompts
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Duplicate, Failure, Individual, Outcome, Recipe
from agent.run.config import Config
from agent.run.config_sources import load
from agent.search.bandit import Bandits, BanditSettings
from agent.search.evolve import Plan, generations
from agent.search.feedback import Feedback, FeedbackSettings
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.steady import Population, steady

LAG = 1
"""Children that are under way when the next one is proposed."""
MODEL = "reader"
SECONDS, USD = 20.0, 0.02
"""Of one training and of one answer: what a credit is divided by."""


@dataclass(frozen=True)
class Arm:
    """A policy: settings of the product, or a search of its own (`islands`)."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Nested tables, as a configuration file has them."""
    islands: bool = False
    fixed: bool = False
    """Its first population is not fitted to the budget."""


@dataclass(frozen=True)
class Found:
    """What a search had found after so many children."""

    children: int
    worth: float
    """Of the front as it was measured."""
    true_worth: float
    """Of the same programs without noise."""
    best: float
    """The best measured accuracy with at most the seed's parameters."""


@cache
def prompts() -> Prompts:
    return Prompts.load(prompts_folder())


def config_of(arm: Arm, children: int) -> Config:
    """The configuration of a run with so many children."""
    return _config_of(json.dumps(arm.settings), children)


@cache
def _config_of(settings: str, children: int) -> Config:
    table = {**json.loads(settings), "memory": {"enabled": False}}
    table["llm"] = {**table.get("llm", {}), "models": [MODEL]}
    config = load("tiny_cnn", None, table, ())
    search = config.search.for_run(children, reads=True)
    first = min(children, search.first)
    sizes = replace(search, first_population=first, generations=math.ceil((children - first) / search.population))
    return config.model_copy(update={"search": sizes})


class Simulation:
    """One run of one arm."""

    def __init__(self, config: Config, world: World, rng: random.Random) -> None:
        self.world, self.config = world, config
        self.archive = Archive(world.seed, OBJECTIVES, SCALE)
        roles = prompts().roles if config.search.roles else ()
        alone = config.search.is_independent
        contest = BanditSettings("uniform", "uniform", "uniform") if alone else config.contest
        bandits = Bandits(contest, roles, prompts().directives, config.search.shares, (MODEL,))
        sampling = Sampling((MODEL,), config.llm.temperature, config.llm.max_tokens)
        plateau = Plateau(PlateauSettings(0) if alone else config.plateau)
        self.sampler = RecipeSampler(rng, world.seed, prompts(), sampling, bandits, plateau)
        self.sampler.any_block = not config.search.shares
        self.tracker = Tracker()
        self._lessons: dict[str, Any] = {SEED_ID: None}  # empty, it would not be asked
        settings = FeedbackSettings(config.memory, config.credit)
        self.feedback = Feedback(self.archive, NOISE, self.sampler, self.tracker, settings, known=self._lessons)
        self.population = Population(self.archive, config.search)
        self.outcomes: list[Outcome] = []

    def run(self, children: int) -> Iterator[int]:
        """Yield the number of settled children after each; at most so many."""
        if self.config.search.schedule == "generational":
            yield from self._by_generations(children)
            return
        plans = steady(self.population, self.archive, self.config.search, self.sampler)
        under_way: deque[tuple[Candidate, Outcome | None]] = deque()
        for number, plan in enumerate(plans):
            if number == children:
                break
            under_way.append(self._breed(plan, number))
            if len(under_way) > LAG:
                yield self._settle(*under_way.popleft())
        for one in under_way:
            yield self._settle(*one)

    def _by_generations(self, children: int) -> Iterator[int]:
        search = generations(self.archive, self.config.search, self.sampler)
        trained: list[Individual] | None = None
        while len(self.outcomes) < children:
            try:
                generation = next(search) if trained is None else search.send(trained)
            except StopIteration:
                return
            room = children - len(self.outcomes)
            bred = [self._breed(plan, len(self.outcomes) + n) for n, plan in enumerate(generation.plans[:room])]
            for one in bred:
                yield self._settle(*one)
            trained = [outcome for _, outcome in bred if isinstance(outcome, Individual)]

    def _breed(self, plan: Plan, number: int) -> tuple[Candidate, Outcome]:
        """The candidate of a plan and what will become of it."""
        candidate = Candidate(f"{number + 1:04d}", 0, plan)
        self.tracker.see(Proposed(candidate))
        bred = self.world.variant(candidate)
        if isinstance(bred, Failure):
            return candidate, bred
        variant, program = bred
        if twin := self.archive.claim(variant):
            return candidate, Duplicate(candidate, twin)
        return candidate, self.world.train(candidate, program, variant.changed)

    def _settle(self, candidate: Candidate, outcome: Outcome) -> int:
        answer = Completion("Intention: a change.", "stop", Usage(1, 1), USD, 5.0, MODEL)
        if any(recipe.model for recipe in candidate.recipes):
            self.tracker.see(Answered(candidate.id, 0, answer))
        self.tracker.see(Settled(outcome, None if isinstance(outcome, Duplicate) else SECONDS))
        self.archive.add(outcome)
        if isinstance(outcome, Individual):
            self.population.add(outcome)
        if not isinstance(outcome, Duplicate):
            self._lessons[outcome.id] = self._lesson(outcome)
        self.feedback.learn(outcome)
        self.outcomes.append(outcome)
        return len(self.outcomes)

    def _lesson(self, outcome: Individual | Failure) -> Lesson:
        """As `lesson_of` makes it, without a change in its text, which takes most of its time."""
        recipe = outcome.candidate.recipes[-1]
        parent = self.archive.individuals[outcome.candidate.recipes[0].parents[0]]
        effects = {}
        if isinstance(outcome, Individual):
            effects = {o.name: outcome.fitness[o.name] - parent.fitness[o.name] for o in OBJECTIVES}
        gains = {o.name: NOISE.gain(o, effects[o.name], parent.fitness[o.name]) for o in OBJECTIVES if effects}
        against = NOISE.trainings if parent.id == SEED_ID else 1
        what = verdict(effects, OBJECTIVES, NOISE, against) if effects else "failed"
        about = outcome.candidate.about(outcome.changed)
        kind = (outcome.candidate.operator, about, (), recipe.role, recipe.directive, recipe.model, "", "", "")
        return Lesson(outcome.id, *kind, effects, gains, what, against=against)


class Islands:
    """OpenEvolve with its defaults, roughly: five islands in turn, each from the seed, no exchange within the first 50
    children; a parent is one of the island's best by accuracy (0.7), its very best (0.1) or any (0.2); a small change."""

    def __init__(self, world: World, rng: random.Random, count: int = 5, archived: int = 100) -> None:
        self.world, self.archive = world, Archive(world.seed, OBJECTIVES, SCALE)
        self._rng, self._archived = rng, archived
        self._islands: list[list[Individual]] = [[world.seed] for _ in range(count)]

    def run(self, children: int) -> Iterator[int]:
        for number in range(1, children + 1):
            island = self._islands[number % len(self._islands)]
            parent = self._parent(island)
            candidate = Candidate(f"{number:04d}", 0, (Recipe("edit", (parent.id,), (), MODEL, 0),))
            bred = self.world.variant(candidate)
            if not isinstance(bred, Failure):
                child = self.world.train(candidate, bred[1])
                self.archive.add(child)
                island.append(child)
            if number % 50 == 0:
                self._migrate()
            yield number

    def _parent(self, island: Sequence[Individual]) -> Individual:
        chance = self._rng.random()
        if chance < 0.2:
            return self._rng.choice(island)
        ranked = sorted(self.archive.everyone, key=_accuracy, reverse=True)[: self._archived]
        mine = [one for one in ranked if one in island] or list(island)
        return max(mine, key=_accuracy) if chance < 0.3 else self._rng.choice(mine)

    def _migrate(self) -> None:
        best = [max(island, key=_accuracy) for island in self._islands]
        for number, one in enumerate(best):
            island = self._islands[(number + 1) % len(self._islands)]
            if one not in island:
                island.append(one)


def _accuracy(individual: Individual) -> float:
    return individual.fitness["accuracy"]


def simulate(arm: Arm, fit: Fit, children: int, checkpoints: Sequence[int], seed: str) -> list[Found]:
    """What one run of the arm had found after each number of children. The same `seed` gives the same reader to every arm."""
    world = World(fit, random.Random(f"world {seed}"))
    rng = random.Random(f"search {seed}")
    search = Islands(world, rng) if arm.islands else Simulation(config_of(arm, children), world, rng)
    found = []
    for number in search.run(children):
        if number in checkpoints:
            found.append(_found(number, search.archive, world))
    rest = [number for number in checkpoints if len(found) == 0 or number > found[-1].children]
    return found + [_found(number, search.archive, world) for number in rest]  # the paper's loop proposes a few less


def _found(children: int, archive: Archive, world: World) -> Found:
    front = archive.front()
    small = [_accuracy(one) for one in front if one.fitness["parameters"] <= PARAMETERS]
    return Found(children, archive.worth(), SCALE.worth(world.truth[one.id] for one in front), max(small))
