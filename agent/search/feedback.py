"""What a search learns of each result: lessons for the next prompts, credit for what was drawn, and when to be bolder.

The only edge that points back: from measurements to the next sampler. No I/O but the record; the state follows from the
results in their order, so that a resumed run arrives at the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.core.objectives import Noise
from agent.journal.accounts import Account, Accounts
from agent.journal.events import DirectiveWritten, Generalised, Learned, PlateauLevelChanged, Record
from agent.memory import Lesson, Memory, kinds_in, lesson_of
from agent.operators.prompt_parts import fits_prompt
from agent.population.archive import Archive
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Outcome, Recipe
from agent.search.bandit import Bandits
from agent.search.plateau import Plateau
from agent.search.reflection import Question, Reflector

_LEAST_COST = 1e-6
"""Dollars: something that costs nothing would be worth infinitely much."""


@dataclass(frozen=True)
class MemorySettings:
    """Of the memory, for a prompt."""

    enabled: bool = True
    characters: int = 3_000
    """Of the lessons in one prompt."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.characters < 0:
            raise ValueError("characters cannot be negative")


@dataclass(frozen=True)
class CreditSettings:
    """How a child's worth to the bandits is counted."""

    gain: Literal["hypervolume", "parent"] = "hypervolume"
    """Growth of the hypervolume, or the gain over the first parent in units of the noise."""
    usd_per_hour: float = 1.0
    """What an hour of evaluating and of waiting for answers counts for, beside what was paid; 0: every child costs the same."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not 0 <= self.usd_per_hour < float("inf"):
            raise ValueError("usd_per_hour cannot be negative")


class Feedback:
    """For one thread, the one that sampler."""

    def __init__(
        self,
        archive: Archive,
        noise: Noise,
        bandits: Bandits,
        plateau: Plateau,
        accounts: Accounts,
        record: Record,
        *,
        recall: MemorySettings = MemorySettings(),
        credit: CreditSettings = CreditSettings(),
        thoughts: Reflector | None = None,
        known: Mapping[str, Lesson] | None = None,
    ) -> None:
        """`thoughts`: what asks LLMs about the search itself; `known`: lessons that an earlier process of the run drew up."""
        self.memory = Memory(archive.objectives, noise)
        self._archive, self._noise = archive, noise
        self._bandits, self._plateau, self._accounts, self._record = bandits, plateau, accounts, record
        self._recall, self._credit, self._thoughts, self._known = recall, credit, thoughts, known or {}
        self.written: dict[str, str] = {}
        """Directives that were written in this run."""
        self._volume = archive.hypervolume()
        self._adapted = 0

    def lessons_for(self, recipes: Sequence[Recipe], parent: Individual) -> tuple[str, ...]:
        """Ids of the lessons that the prompts of a child with these recipes should tell."""
        if not self._recall.enabled or not recipes:
            return ()
        live = [block.name for block in parent.genome.live_blocks]
        blocks = tuple(dict.fromkeys(name for recipe in recipes for name in recipe.blocks or live))
        sources = [block.source for block in parent.genome.all_blocks if block.name in blocks]
        kinds = [kind for source in sources for kind in kinds_in(source)]
        directive = next((recipe.directive for recipe in recipes if recipe.directive), None)
        lessons = self.memory.recall(blocks, kinds, directive, self._recall.characters)
        return tuple(lesson.id for lesson in lessons)

    def told(self, candidate: Candidate) -> dict[str, str]:
        """The lessons of a candidate in words, by id; without their code where the prompt shows that anyway."""
        lessons = [self.memory[id] for id in candidate.lessons]
        return {lesson.id: self.memory.render(lesson, code_shown=self._seen(candidate, lesson)) for lesson in lessons}

    def _seen(self, candidate: Candidate, lesson: Lesson) -> bool:
        """Does the prompt hold what this child changed?"""
        recipe = candidate.recipes[0]
        if lesson.id == recipe.parents[0]:
            return fits_prompt(self._archive.individuals[lesson.id].genome) or set(lesson.blocks) <= set(recipe.blocks)
        if lesson.id == recipe.elite:
            return not recipe.blocks or lesson.blocks == (recipe.example,)
        return lesson.id in recipe.parents and set(lesson.blocks) <= set(recipe.blocks)

    def again(self, event: Candidate | Generalised | DirectiveWritten) -> None:
        """What an earlier process of the run drew or wrote."""
        match event:
            case Candidate(recipes=recipes):
                for recipe in recipes:
                    self._bandits.drawn(recipe)
            case Generalised() | DirectiveWritten():
                if self._thoughts:
                    self._thoughts.again(event)
                self._take(event)

    def questions(self) -> Iterator[Question]:
        """What is to be asked about the search itself, now."""
        if self._thoughts and self._recall.enabled:
            yield from self._thoughts.due(self.memory, self.written)

    def answered(self, question: Question, answer: str | None) -> None:
        """None: it was not asked any more."""
        if answer is None or self._thoughts is None:
            return
        event = self._thoughts.read(question, answer)
        self._record(event)
        self._take(event)

    def _take(self, event: Generalised | DirectiveWritten) -> None:
        """What is empty could not be used."""
        if not event.text:
            return
        if isinstance(event, Generalised):
            self.memory.generalise(event.sources, event.text)
            return
        self.written[event.name] = event.text
        roles = dict.fromkeys(role for role, _ in self._bandits.prompts.arms)
        for role in roles:
            self._bandits.prompts.add((role, event.name))

    def settled(self, outcome: Outcome) -> None:
        """A child's end, which the archive has seen already."""
        account = self._accounts.take(outcome.id)
        lesson = self._lesson(outcome, account)
        volume = self._archive.hypervolume()
        grown, self._volume = volume - self._volume, volume
        worth = max(0.0, grown) if self._credit.gain == "hypervolume" else _over_parent(lesson)
        for recipe in outcome.candidate.recipes:
            self._bandits.settled(recipe, worth, self._cost(account), account.of(recipe.model))
        if lesson is not None and self._recall.enabled:
            self.memory.learn(lesson)
            self._record(Learned(lesson))
            if self._thoughts:
                self._thoughts.see(lesson)
        if why := self._plateau.see(grown > 0):
            self._adapted += 1
            self._record(PlateauLevelChanged(self._adapted, self._plateau.level, why))

    def _lesson(self, outcome: Outcome, account: Account) -> Lesson | None:
        if known := self._known.get(outcome.id):
            return known
        measured: Individual | Failure
        if isinstance(outcome, Duplicate):
            twin = self._archive.individuals.get(outcome.twin)
            if twin is None:  # it failed, or is still being measured: nothing is known of this program
                return None
            measured = replace(twin, candidate=outcome.candidate)
        else:
            measured = outcome
        parent = self._archive.individuals[outcome.candidate.recipes[0].parents[0]]
        objectives = self._archive.objectives
        lesson = lesson_of(measured, parent, account.answer, outcome.candidate.lessons, objectives, self._noise)
        same = f"the same program as {outcome.twin}" if isinstance(outcome, Duplicate) else ""
        return replace(lesson, model=account.of(lesson.model), reason=same or lesson.reason)

    def _cost(self, account: Account) -> float:
        """Dollars."""
        if not self._credit.usd_per_hour:
            return 1.0
        return max(_LEAST_COST, account.usd + account.seconds / 3600 * self._credit.usd_per_hour)


def _over_parent(lesson: Lesson | None) -> float:
    return max(0.0, sum(lesson.gains.values())) if lesson and lesson.verdict in ("helped", "mixed") else 0.0


