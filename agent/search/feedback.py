"""Learn from each result: lessons for the next prompts, credit for the bandits, and when to be bolder.

This is the only way from measurements back to the next choices. It does no I/O: events to be journaled are returned. Its
state depends on the results in their order alone, so that a resumed run has the same state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agent.core.noise import Noise
from agent.core.running_mean import RunningMean
from agent.journal.events import DirectiveWritten, Event, Generalised, Learned, PlateauLevelChanged
from agent.journal.tracker import TrackedCandidate, Tracker
from agent.memory import GAINS, SAME_PROGRAM, Lesson, Memory, kinds_in, lesson_of
from agent.operators.changes import Measured, interaction
from agent.operators.prompt_parts import fits_prompt
from agent.population.archive import Archive
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Outcome, Recipe
from agent.search.merit import Advantage
from agent.search.recipes import RecipeSampler
from agent.search.reflection import Question, Reflector

LEAST_GROWTH = 0.01
"""Of the worth: less is no progress. A tenth of a sigma in one objective is about as much."""
LESSONS_SHARE, LEAST_LESSONS = 0.15, 500
"""Characters of all lessons in one prompt, as a share of the program's; and how many they may always have."""
_LEAST_COST = 1e-6
"""Dollars. The bandits divide by costs, which must not be 0."""
_MOST = 1e12
"""Of any reward or cost."""
_DRIFT = 0.05
"""Weight of the newest child in what an average one costs."""


@dataclass(frozen=True)
class MemorySettings:
    """Which lessons a prompt shows."""

    enabled: bool = True
    """Whether prompts tell lessons of earlier candidates."""
    characters: int = 3_000
    """Most characters of all lessons in one prompt."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.characters < 0:
            raise ValueError("characters cannot be negative")


@dataclass(frozen=True)
class CreditSettings:
    """How success and cost are counted for `contest`."""

    gain: Literal["advantage", "worth", "hypervolume", "parent"] = "advantage"
    """What counts as success of an operator, a prompt or a model. `advantage`: by what share the program alone is worth more
    than its better parent, luck discounted, minus what an average child of the run gains; `worth`, the growth of the front's
    worth (`hypervolume` is its former name); `parent`, the gain over the first parent in units of the noise."""
    usd_per_hour: float = 1.0
    """Dollars that an hour of evaluation or of waiting for an answer counts as, on top of what was paid. 0: every candidate costs
    the same."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.usd_per_hour < float("inf"):
            raise ValueError("usd_per_hour cannot be negative")


@dataclass(frozen=True)
class FeedbackSettings:
    """The parts of the configuration that the feedback reads."""

    memory: MemorySettings = field(default_factory=MemorySettings)
    credit: CreditSettings = field(default_factory=CreditSettings)


class Feedback:
    """Not thread-safe: only the thread of the search loop uses it."""

    def __init__(
        self,
        archive: Archive,
        noise: Noise,
        sampler: RecipeSampler,
        tracker: Tracker,
        settings: FeedbackSettings,
        reflector: Reflector | None = None,
        known: Mapping[str, Lesson] | None = None,
    ) -> None:
        """`tracker`: knows what each candidate has cost; `reflector`: asks a model about the search itself.

        `known`: the lessons that an earlier process of the run recorded, by candidate.
        """
        self.memory = Memory(archive.objectives, noise)
        self.written: dict[str, str] = {}
        """Directives that were written in this run, by name."""
        self._archive, self._noise, self._tracker = archive, noise, tracker
        self._sampler, self._bandits, self._plateau = sampler, sampler.bandits, sampler.plateau
        self._measured = sampler.measured = Measured(archive.individuals, archive.objectives, noise)
        self._settings, self._reflector, self._known = settings, reflector, known or {}
        self._worth, self._advantage, self._usual_cost = archive.worth(), Advantage(archive), RunningMean(_DRIFT)
        self._level_changes = 0

    def lessons_for(self, recipes: Sequence[Recipe], parent: Individual) -> tuple[str, ...]:
        """Ids of the lessons that the prompts of a candidate with these recipes should show; none if no model reads them."""
        if not self._settings.memory.enabled or not any(recipe.model for recipe in recipes):
            return ()
        anything = any(not recipe.blocks for recipe in recipes)
        blocks = () if anything else tuple(dict.fromkeys(name for recipe in recipes for name in recipe.blocks))
        sources = [block.source for block in parent.genome.all_blocks if block.name in blocks]
        kinds = [kind for source in sources for kind in kinds_in(source)]
        directive = next((recipe.directive for recipe in recipes if recipe.directive), None)
        lessons = self.memory.recall(blocks, kinds, directive, self._room(parent))
        return tuple(lesson.id for lesson in lessons)

    def rendered_lessons(self, candidate: Candidate) -> dict[str, str]:
        """The lessons that were chosen for a candidate as text, by id; without their code if the prompt shows it anyway."""
        parent = self._archive.individuals[candidate.recipes[0].parents[0]]
        # Where the prompt shows its code, the table tells the rest, unless it has an insight.
        told = [id for id in candidate.lessons if self.memory[id].insight or not self._code_is_shown(candidate, self.memory[id])]
        return self.memory.tell(told, self._room(parent), [id for id in told if self._code_is_shown(candidate, self.memory[id])])

    def _room(self, parent: Individual) -> int:
        """Characters of all lessons in a prompt about this parent."""
        share = round(LESSONS_SHARE * sum(map(len, parent.genome.files.values())))
        return min(max(LEAST_LESSONS, share), self._settings.memory.characters)

    def _code_is_shown(self, candidate: Candidate, lesson: Lesson) -> bool:
        """Whether the candidate's prompt shows the code that the lesson is about."""
        recipe = candidate.recipes[0]
        if lesson.id == recipe.parents[0]:
            return fits_prompt(self._archive.individuals[lesson.id].genome) or set(lesson.blocks) <= set(recipe.blocks)
        if lesson.id in recipe.sources:
            return True
        if lesson.id == recipe.elite:
            return not recipe.blocks or lesson.blocks == (recipe.example,)
        return lesson.id in recipe.parents and set(lesson.blocks) <= set(recipe.blocks)

    def restore(self, event: Candidate | Generalised | DirectiveWritten) -> None:
        """Take in what an earlier process of the run proposed or wrote."""
        match event:
            case Candidate(recipes=recipes):
                for recipe in recipes:
                    self._sampler.restore(recipe)
            case Generalised() | DirectiveWritten():
                if self._reflector:
                    self._reflector.restore(event)
                self._apply(event)

    def questions(self) -> Iterator[Question]:
        """Yield the questions about the search itself that are due now."""
        if self._reflector and self._settings.memory.enabled:
            yield from self._reflector.due(self.memory, self.written)

    def take_answer(self, question: Question, answer: str) -> list[Event]:
        """Use the answer to a question; return the events to be journaled."""
        if self._reflector is None:
            return []
        event = self._reflector.read(question, answer)
        self._apply(event)
        return [event]

    def _apply(self, event: Generalised | DirectiveWritten) -> None:
        """An event without a text stands for an answer that could not be used."""
        if not event.text:
            return
        if isinstance(event, Generalised):
            self.memory.generalise(event.sources, event.text)
            return
        self.written[event.name] = event.text
        self._bandits.directives.add(event.name)

    def learn(self, outcome: Outcome) -> list[Event]:
        """Learn from the outcome of a candidate that was added to the archive; return the events to be journaled."""
        tracked = self._tracker.close(outcome.id)
        lesson = self._lesson(outcome, tracked)
        worth = self._archive.worth()
        growth, self._worth = worth - self._worth, worth
        reward, cost = _finite(self._reward(outcome, lesson, growth)), self._cost(outcome, tracked)
        for recipe in outcome.candidate.recipes:
            self._bandits.credit(recipe, reward, cost, tracked.model_for(recipe.model))
        events: list[Event] = []
        if lesson is not None and self._settings.memory.enabled:
            self.memory.learn(lesson)
            events.append(Learned(lesson))
            if self._reflector:
                self._reflector.see(lesson)
        if reason := self._plateau.see(growth > LEAST_GROWTH):
            self._level_changes += 1
            events.append(PlateauLevelChanged(self._level_changes, self._plateau.level, reason))
        return events

    def remeasure(self, noise: Noise) -> None:
        """An elite was trained again: later gains are counted from its mean, and judged by the noise as it is known now."""
        self._noise, self._worth = noise, self._archive.worth()
        self.memory.measure_by(noise)
        self._measured = self._sampler.measured = replace(self._measured, noise=noise)

    def _lesson(self, outcome: Outcome, tracked: TrackedCandidate) -> Lesson | None:
        """The lesson of an outcome; None for a duplicate of a program that failed or is still being measured."""
        if known := self._known.get(outcome.id):
            return known
        measured: Individual | Failure
        if isinstance(outcome, Duplicate):
            twin = self._archive.individuals.get(outcome.twin)
            if twin is None:
                return None
            measured = replace(twin, candidate=outcome.candidate)
        else:
            measured = outcome
        parent = self._archive.individuals[outcome.candidate.recipes[0].parents[0]]
        objectives, shown = self._archive.objectives, outcome.candidate.lessons
        lesson = lesson_of(measured, parent, tracked.answer, shown, objectives, self._noise)
        same = f"{SAME_PROGRAM} {outcome.twin}" if isinstance(outcome, Duplicate) else ""
        together = interaction(outcome, self._measured) if isinstance(outcome, Individual) else ""
        return replace(lesson, model=tracked.model_for(lesson.model), reason=same or together or lesson.reason)

    def _reward(self, outcome: Outcome, lesson: Lesson | None, growth: float) -> float:
        match self._settings.credit.gain:
            case "parent":
                return _gain_over_parent(lesson)
            case "worth" | "hypervolume":
                return max(0.0, growth)
        return self._advantage.of(outcome)

    def _cost(self, outcome: Outcome, tracked: TrackedCandidate) -> float:
        """What the candidate has cost in dollars, with its time at `credit.usd_per_hour`; 1 if time costs nothing.

        A duplicate costs as much as an average child: it took the place of one.
        """
        if not self._settings.credit.usd_per_hour:
            return 1.0
        cost = max(_LEAST_COST, _finite(tracked.usd + tracked.seconds / 3600 * self._settings.credit.usd_per_hour))
        if isinstance(outcome, Individual):
            self._usual_cost.add(cost)
        return max(cost, self._usual_cost.value) if isinstance(outcome, Duplicate) else cost


def _finite(amount: float) -> float:
    """What the bandits take: from 0 to `_MOST`, 0 for what is no number. A result that nobody foresaw must not end a run."""
    return min(max(0.0, amount), _MOST) if amount == amount else 0.0


def _gain_over_parent(lesson: Lesson | None) -> float:
    return max(0.0, sum(lesson.gains.values())) if lesson and lesson.verdict in GAINS else 0.0
