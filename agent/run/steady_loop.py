"""The search that does not wait: each result counts as soon as it arrives, and every evaluation slot is kept busy."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from agent.journal.events import EliteRetrained
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Outcome, Variant
from agent.run.context import RunContext
from agent.run.loop import SearchLoop
from agent.run.search_state import Breeding, Evaluation, Owner, SearchState
from agent.search.reflection import Question
from agent.search.steady import Population, Prefetch, steady

_T = TypeVar("_T")


class SteadyLoop(SearchLoop):
    """Keeps every evaluation slot busy: each result counts as soon as it arrives."""

    def __init__(
        self, run: RunContext, search: SearchState, breeding: Breeding, evaluation: Evaluation, slots: int, concurrency: int
    ) -> None:
        """`slots`: trainings at once; `concurrency`: candidates that can be bred at once."""
        super().__init__(run, search, breeding, evaluation)
        self._population, self._settled = Population(search.archive, search.settings), 0
        limits = run.config.limits
        timed = any(limit is not None for limit in (limits.hours, limits.until, limits.gpu_hours))
        self._prefetch = Prefetch(slots, concurrency, eager=timed)
        self._prefetch.add_settled(search.archive.seed, search.archive.seed.evidence.total)
        self._bred: dict[Future[Variant | Failure], float] = {}
        self._asked: dict[Future[str], Question] = {}
        self._trained: dict[Future[Outcome], float] = {}
        """Work under way, each with the monotonic time of its start."""
        self._retrained: dict[Future[EliteRetrained], str] = {}
        """Elites that are being trained again, by id."""

    def work(self) -> None:
        candidates = self._candidates()
        while True:
            self._retrained |= self._retrain(self._retrained.values())
            while self._prefetch.wants_more(len(self._bred), self._evaluating) and (one := next(candidates, None)):
                context = self._context(one, self._run.tracker.under_way(without=one.id))
                self._bred[self._breeding.submit(one, context)] = time.monotonic()
            for question in () if self._halted else self._search.feedback.questions():
                self._asked[self._breeding.ask(question)] = question
            under_way: list[Future[Any]] = [*self._bred, *self._trained, *self._asked, *self._retrained]
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for bred in _ended(self._bred, done):
                self._take_bred(bred)
            for answered in _ended(self._asked, done):
                self._take_answer(self._asked.pop(answered), self._result(answered))
            for trained in _ended(self._trained, done):
                seconds = time.monotonic() - self._trained.pop(trained)
                if outcome := self._result(trained):
                    self._take_outcome(outcome, seconds)
            for retrained in _ended(self._retrained, done):
                del self._retrained[retrained]
                if reading := self._result(retrained):
                    self._take_reading(reading)

    def _owner(self) -> Owner:
        return self._search.archive.move_claim

    @property
    def _evaluating(self) -> int:
        """Trainings that wait for a slot or hold one."""
        return len(self._trained) + len(self._retrained)

    def _take_reading(self, reading: EliteRetrained) -> Individual:
        individual = super()._take_reading(reading)
        self._population.replace(individual)
        return individual

    def _candidates(self) -> Iterator[Candidate | None]:
        """Yield first the candidates that an earlier process left unfinished, then new ones; None while none is admitted."""
        replay = self._run.replay
        yield from self._restore()
        archive, settings = self._search.archive, self._search.settings
        plans = steady(self._population, archive, settings, self._search.sampler, proposed=len(replay.candidates))
        for _ in range(len(replay.candidates), settings.candidates):
            while not self._run.admission.admits():
                yield None
            self._poll_steering()
            yield self._propose(next(plans), self._settled // settings.population)

    def _restore(self) -> list[Candidate]:
        """Replay what earlier processes did, in order; return the candidates that are not settled."""
        replay, settled = self._run.replay, set()
        for variant in replay.variants.values():
            self._search.archive.claim(variant)
            self._run.tracker.attach(variant)
        for event in replay.history:
            if isinstance(event, Individual | Failure | Duplicate):
                settled.add(event.id)
                self._add(event)
            elif isinstance(event, EliteRetrained):
                self._take_reading(event)
            else:
                self._search.feedback.restore(event)
        for _ in replay.candidates:
            next(self._ids)
        return [candidate for id, candidate in replay.candidates.items() if id not in settled]

    def _take_bred(self, future: Future[Variant | Failure]) -> None:
        self._prefetch.add_bred(time.monotonic() - self._bred.pop(future))
        bred = self._result(future)
        if bred is None:
            return
        result = bred if isinstance(bred, Failure) else self._train(bred)
        if isinstance(result, Future):
            self._trained[result] = time.monotonic()
        else:
            self._take_outcome(result)

    def _take_outcome(self, outcome: Outcome, seconds: float = 0.0) -> None:
        """Add an outcome. Every `search.population` outcomes count as a generation in the journal."""
        self._prefetch.add_settled(outcome, seconds)
        self._add(outcome)
        number, rest = divmod(self._settled, self._search.settings.population)
        if not rest and not self._halted:
            self._end_generation(number, self._population.members, self._population.members)

    def _add(self, outcome: Outcome) -> None:
        self._settled += 1
        self._add_to_archive(outcome)
        if isinstance(outcome, Individual):
            self._population.add(outcome)
        self._learn(outcome)


def _ended(under_way: Iterable[Future[_T]], done: Collection[Future[Any]]) -> list[Future[_T]]:
    """In the order in which they were begun: a set has another order each time."""
    return [one for one in under_way if one in done]
