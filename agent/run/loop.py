"""Drive a search: propose its plans as candidates, have them bred and trained, and feed every result back.

`agent/search/evolve.py` and `steady.py` make the decisions. This module adds admission, the user's steering, the work of
earlier processes of the run, and the journal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from typing import TypeVar

from agent.core.errors import Halted
from agent.journal.events import EliteRetrained, Event, GenerationEnded, Proposed, Settled
from agent.operators import Context
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Outcome, Variant
from agent.run.context import RunContext
from agent.run.retraining import next_training_seed
from agent.run.search_state import Breeding, Evaluation, Owner, SearchState
from agent.search.evolve import Generation, Plan, generations
from agent.search.reflection import Question

_T = TypeVar("_T")


class SearchLoop(ABC):
    """The search in one process of a run. Not thread-safe."""

    def __init__(self, run: RunContext, search: SearchState, breeding: Breeding, evaluation: Evaluation) -> None:
        self._run, self._search, self._breeding, self._evaluation = run, search, breeding, evaluation
        self._halted = False
        """Some work was not started, or not finished, because the run is ending."""
        self._ids = (f"{n:04d}" for n in count(1))

    @abstractmethod
    def work(self) -> None:
        """Run the search until it ends, or until no more work is admitted. Raises MachineError when a pool does."""

    def _record(self, events: Iterable[Event]) -> None:
        for event in events:
            self._run.record(event)

    def _propose(self, plan: Plan, generation: int) -> Candidate:
        parent = self._search.archive.individuals[plan[0].parents[0]]
        lessons = () if self._search.settings.is_independent else self._search.feedback.lessons_for(plan, parent)
        candidate = Candidate(next(self._ids), generation, plan, lessons)
        self._run.record(Proposed(candidate))
        return candidate

    def _context(self, candidate: Candidate, under_way: Sequence[Candidate | Variant]) -> Context:
        """What is known when the candidate's prompts are written."""
        search, archive, steering = self._search, self._search.archive, self._search.steering
        named = {id for recipe in candidate.recipes for id in (*recipe.parents, recipe.elite, *recipe.sources) if id}
        sources = [archive.individuals[id] for recipe in candidate.recipes for id in recipe.sources]
        named |= {parent for one in sources for parent in one.candidate.parents[:1]}
        known = {id: archive.individuals[id] for id in sorted(named)}
        steered = {id: steering.apply(one) for id, one in known.items()} if steering else known
        if search.settings.is_independent:
            return Context(search.brief, archive.seed, steered, guidance=steering.guidance if steering else "")
        return Context(
            replace(search.brief, noise=search.retraining.noise) if search.brief.noise else search.brief,
            archive.seed,
            steered,
            recent=archive.recent(search.settings.recent),
            front=tuple(archive.front()),
            lessons=search.feedback.rendered_lessons(candidate),
            guidance=steering.guidance if steering else "",
            written_directives=search.feedback.written,
            under_way=tuple(under_way),
            known_programs=archive.known_programs(),
            everyone=tuple(archive.everyone),
            left=self._planned() - int(candidate.id) + 1,
        )

    def _planned(self) -> int:
        """Candidates of the whole run, as far as a number of them limits it."""
        most = self._run.config.limits.variants
        return min(self._search.settings.candidates, most or self._search.settings.candidates)

    def _poll_steering(self) -> None:
        if self._search.steering:
            self._record(self._search.steering.poll())

    @abstractmethod
    def _owner(self) -> Owner:
        """How a repaired program is compared with those that are known."""

    def _train(self, variant: Variant) -> Future[Outcome] | Duplicate:
        """Submit a variant for evaluation; return a duplicate if its program is known."""
        if twin := self._search.archive.claim(variant):
            duplicate = Duplicate(variant.candidate, twin)
            self._run.record(Settled(duplicate))
            return duplicate
        return self._evaluation.submit(variant, self._owner())

    def _add_to_archive(self, outcome: Outcome) -> None:
        self._search.archive.add(outcome)
        self._search.retraining.see(outcome)

    def _learn(self, outcome: Outcome) -> None:
        self._record(self._search.feedback.learn(outcome))

    def _retrain(self, under_way: Collection[str] = ()) -> dict[Future[EliteRetrained], str]:
        """Submit the elites that are due; return their ids by future. `under_way`: ids of those that are being trained again."""
        due = self._search.retraining.due(under_way) if not self._halted else ()
        return {self._evaluation.retrain(one, next_training_seed(self._run, one)): one.id for one in due}

    def _take_reading(self, reading: EliteRetrained) -> Individual:
        individual = self._search.retraining.take(reading)
        self._search.feedback.remeasure(self._search.retraining.noise)
        return individual

    def _take_answer(self, question: Question, answer: str | None) -> None:
        """`answer`: None if the question was not sent, because the run is ending."""
        if answer is not None:
            self._record(self._search.feedback.take_answer(question, answer))

    def _result(self, future: Future[_T]) -> _T | None:
        """The result of a future; None if the work was not started, because the run is ending."""
        try:
            return future.result()
        except Halted:
            self._halted = True
            return None

    def _end_generation(self, number: int, population: Sequence[Individual], elites: Sequence[Individual]) -> None:
        archive = self._search.archive
        members, kept, front = (tuple(one.id for one in group) for group in (population, elites, archive.front()))
        self._run.record(GenerationEnded(number, members, kept, front, archive.worth()))


class GenerationalLoop(SearchLoop):
    """The paper's schedule. The same seed and the same answers give the same run, independent of timing."""

    def _owner(self) -> Owner:
        """Programs of the same generation are not compared, so that timing has no influence."""
        return self._known.owner

    def work(self) -> None:
        state = self._search
        search = generations(state.archive, state.settings, state.sampler)
        trained: list[Individual] | None = None
        proposed = 0
        while not self._halted:
            self._poll_steering()
            try:
                generation = next(search) if trained is None else search.send(trained)
            except StopIteration:
                return
            self._known = state.archive.known_programs()
            candidates = self._propose_all(generation, proposed)
            proposed += len(candidates)
            trained = self._after_retraining(generation, self._breed_and_train(candidates))
            if not self._halted:  # else a resume finishes this generation
                self._close(generation, trained)

    def _propose_all(self, generation: Generation, proposed: int) -> list[Candidate]:
        """`proposed`: number of candidates before this generation. Those that an earlier process proposed need no admission."""
        candidates: list[Candidate] = []
        for plan in generation.plans:
            known = proposed + len(candidates) < len(self._run.replay.candidates)
            if not known and not self._run.admission.admits():
                self._halted = True
                break
            candidates.append(self._propose(plan, generation.number))
        return candidates

    def _breed_and_train(self, candidates: Sequence[Candidate]) -> list[Individual]:
        """Breed and train all of them at once; use the results in the order of proposal, so that timing has no influence."""
        contexts = [self._context(one, [other for other in candidates if other is not one]) for one in candidates]
        bred = [self._breeding.submit(one, context) for one, context in zip(candidates, contexts, strict=True)]
        under_way: list[Future[Outcome] | Outcome] = []
        for future in bred:
            bred_one = self._result(future)
            if bred_one is not None:
                under_way.append(bred_one if isinstance(bred_one, Failure) else self._train(bred_one))
        results = [self._result(one) if isinstance(one, Future) else one for one in under_way]
        outcomes = [outcome for outcome in results if outcome is not None]
        for outcome in outcomes:
            self._add_to_archive(outcome)
            self._learn(outcome)
        return [outcome for outcome in outcomes if isinstance(outcome, Individual)]

    def _after_retraining(self, generation: Generation, trained: Sequence[Individual]) -> list[Individual]:
        """The elites and the trained, as they are known when those that are due were trained again, all at once.

        Readings are taken in the order in which the elites were chosen, so that timing has no influence.
        """
        for future in self._retrain():
            if (reading := self._result(future)) is not None:
                self._take_reading(reading)
        known = self._search.archive.individuals
        return [known[one.id] for one in (*generation.elites, *trained)]

    def _close(self, generation: Generation, trained: Sequence[Individual]) -> None:
        for question in self._search.feedback.questions():
            self._take_answer(question, self._result(self._breeding.ask(question)))
        self._end_generation(generation.number, generation.population(trained), generation.elites)
