"""What somebody beside the run would do: end it when it was asked to or its time is over, and say how far it will get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from agent.budget import Budget
from agent.budget.forecast import forecast_text
from agent.journal.events import Bred, Event, ForecastUpdated, Restored, Settled, StopRequested, Watch
from agent.journal.replay import Replay
from agent.llm import LanguageModel
from agent.population.candidate import SEED_ID, Duplicate
from agent.run.admission import Admission, FirstCandidate
from agent.run.signals import asked_to_stop

_LOOK_SECONDS = 5.0
"""Between two looks at the time, at most: the wall clock may be set."""


class Supervisor:
    """Of one process of a run: holds the admission, the first_candidate and the time."""

    def __init__(
        self,
        budget: Budget,
        models: Collection[LanguageModel],
        end_evaluations: Callable[[], None],
        planned: int,
        watch: Watch,
        replay: Replay,
    ) -> None:
        """`planned`: children that the schedule draws if nothing stops it."""
        self._budget, self._models, self._end_evaluations = budget, models, end_evaluations
        self._planned, self._watch, self._known = planned, watch, set(replay.outcomes)
        # A person who answers is shown all prompts at once.
        self._first_candidate = None if replay.candidates or any(model.patient for model in models) else FirstCandidate()
        # Only where money is counted do the others wait for it: slots stand still meanwhile.
        counted = budget.limits.usd is not None or budget.limits.tokens is not None
        self.admission = Admission(budget, self._first_candidate if counted else None)

    def see(self, event: Event) -> None:
        """Each event, after it was journaled and after the budget has seen it."""
        if isinstance(event, Settled) and event.outcome.id in self._known and not isinstance(event.outcome, Duplicate):
            self._watch(Restored(event.outcome))
            return
        self._watch(event)
        if isinstance(event, Bred) or (isinstance(event, Settled) and event.outcome.id != SEED_ID):
            first = self._first_candidate is not None and not self._first_candidate.landed
            if first or isinstance(event, Settled):
                self.foretell(announce=first)
            if self._first_candidate:
                self._first_candidate.land()

    def foretell(self, *, announce: bool = True) -> None:
        """Nothing, while nothing is known."""
        if text := forecast_text(self._budget.forecast(self._planned)):
            self._watch(ForecastUpdated(text, announce))

    def gives_up(self) -> bool:
        """Should nobody wait for a model that does not answer any more?"""
        return self.admission.shut or self._budget.late() is not None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While the work is under way: signals are obeyed, and the end of the grace."""
        done = threading.Event()
        threading.Thread(target=self._end_on_time, args=(done,), name="keeper", daemon=True).start()
        try:
            with asked_to_stop(self._stop):
                yield
        finally:
            done.set()

    def _stop(self, reason: str) -> None:
        self.admission.stop(reason)
        for model in self._models:
            if model.patient:
                model.close()
        self._watch(StopRequested(reason))

    def _end_on_time(self, done: threading.Event) -> None:
        while (left := self._budget.seconds_left()) is None or left > 0:
            if done.wait(_LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)):
                return
        late = self._budget.late()
        self.admission.cut_off(f"{late.reason if late else ''}; what was under way after the grace was ended")
        for model in self._models:
            model.close()
        self._end_evaluations()
