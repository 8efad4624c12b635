"""End a run on a signal or when its time is over, and forecast how far it will get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from agent.budget import Budget
from agent.budget.forecast import forecast_text
from agent.journal.events import Bred, Event, ForecastUpdated, Restored, Settled, StopRequested, Watch
from agent.journal.replay import Replay
from agent.llm import LanguageModel
from agent.population.candidate import SEED_ID, Duplicate, Failure, Individual
from agent.run.admission import Admission, FirstCandidate
from agent.run.signals import asked_to_stop

_LOOK_SECONDS = 5.0
"""Longest time between two checks of the time: the wall clock may be changed."""


class Supervisor:
    """Supervises one process of a run: owns the admission, watches the time and handles signals."""

    def __init__(
        self,
        budget: Budget,
        models: Collection[LanguageModel],
        end_evaluations: Callable[[], None],
        planned: int,
        watch: Watch,
        replay: Replay,
    ) -> None:
        """`planned`: candidates that the schedule proposes if nothing stops it."""
        self._budget, self._models, self._end_evaluations = budget, models, end_evaluations
        self._planned, self._watch, self._known, self._readings = planned, watch, set(replay.outcomes), replay.readings
        # If a person answers, all prompts are written at once.
        first = None if replay.candidates or any(model.waits_for_person for model in models) else FirstCandidate()
        self._first_candidate = first
        # Other candidates wait for the first one only if costs are limited, since slots are idle meanwhile.
        self.admission = Admission(budget, first if budget.counts_calls else None)

    def see(self, event: Event) -> None:
        """Pass on an event that was journaled and counted by the budget, and update the forecast."""
        if isinstance(event, Settled) and event.outcome.id in self._known and not isinstance(event.outcome, Duplicate):
            self._watch(Restored(self._as_known(event.outcome)))
            return
        self._watch(event)
        if isinstance(event, Bred) or (isinstance(event, Settled) and event.outcome.id != SEED_ID):
            is_first = self._first_candidate is not None and not self._first_candidate.is_done
            if is_first or isinstance(event, Settled):
                self.update_forecast(announce=is_first)
            if self._first_candidate:
                self._first_candidate.done()

    def _as_known(self, outcome: Individual | Failure) -> Individual | Failure:
        """With the trainings that an earlier process repeated: the view begins with the means."""
        for (id, _), again in self._readings.items():
            if isinstance(outcome, Individual) and id == outcome.id:
                outcome = outcome.with_reading(again.fitness, again.reason)
        return outcome

    def update_forecast(self, *, announce: bool = True) -> None:
        """Show a new forecast, once there is one."""
        if text := forecast_text(self._budget.forecast(self._planned)):
            self._watch(ForecastUpdated(text, announce))

    def gives_up(self) -> bool:
        """Whether calls should stop waiting for models that do not answer."""
        return self.admission.is_closed or self._budget.late() is not None

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Inside the context, signals stop the run, and all work is ended when time and grace are over."""
        finished = threading.Event()
        threading.Thread(target=self._end_on_time, args=(finished,), name="supervisor", daemon=True).start()
        try:
            with asked_to_stop(self._stop):
                yield
        finally:
            finished.set()

    def _stop(self, reason: str) -> None:
        self.admission.stop(reason)
        for model in self._models:
            if model.waits_for_person:
                model.close()
        self._watch(StopRequested(reason))

    def _end_on_time(self, finished: threading.Event) -> None:
        while (left := self._budget.seconds_left()) is None or left > 0:
            if finished.wait(_LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)):
                return
        late = self._budget.late()
        self.admission.cut(f"{late.reason if late else ''}; what was under way after the grace was ended")
        for model in self._models:
            model.close()
        self._end_evaluations()
