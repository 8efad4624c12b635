"""Decide before each step of a run whether the user's limits allow it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.budget.clock import HOUR, SYSTEM_CLOCK, Clock, RunTime
from agent.budget.forecast import Forecast, compute_forecast
from agent.budget.limits import CHECKS, LIMITS, AmountLimit, Need, RunLimits, TimeLimit, amount_text, reserve_text
from agent.budget.spend import NO_GUESS, Guess, Spend
from agent.journal.codec import Row
from agent.journal.events import Event, RunEnded, RunStarted
from agent.journal.tracker import Tracker


@dataclass(frozen=True)
class Refusal:
    """Why a step may not start now. It may start later if work under way turns out cheaper than expected."""

    limit: str
    """The key in `[limits]`."""
    reason: str
    """One sentence with the figures, without a full stop."""


class Budget:
    """Compares `RunLimits` with `Spend`. Thread-safe."""

    def __init__(
        self,
        limits: RunLimits,
        *,
        slots: int = 1,
        concurrency: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        guess: Guess = NO_GUESS,
        tracker: Tracker | None = None,
    ) -> None:
        """`slots`: evaluations at once; `concurrency`: candidates that are bred at once.

        `tracker`: the run's tracker. The budget passes every event and row on to it; others may pass them too, since a
        repeated event changes nothing. None: the budget makes its own.
        """
        self.limits, self.spend = limits, Spend(guess, tracker)
        self._slots, self._concurrency, self._clock = slots, concurrency, clock
        self._earlier_seconds = 0.0
        """Wall time of earlier processes of the run."""
        self._started_at: float | None = None
        """When this process started, by `Clock.seconds`; None before the start and after the end."""
        # Lock order: this lock first, then the tracker's.
        self._lock = threading.Lock()

    @property
    def counts_calls(self) -> bool:
        """Is there a limit of which model calls take something?"""
        amounts = (limit for limit in LIMITS if isinstance(limit, AmountLimit) and limit.call)
        return any(getattr(self.limits, limit.key) is not None for limit in amounts)

    def recall(self, rows: Iterable[Row]) -> None:
        """Count what earlier processes spent: the rows of `Journal.cost_rows`, before the first event of this process.

        These rows hold no candidates and answers. If the search shares the tracker, pass it the complete rows before.
        """
        with self._lock:
            self.spend.recall(rows)
            self._earlier_seconds = self.spend.seconds

    def see(self, event: Event) -> None:
        """Count an event of this process. The run's time passes between RunStarted and RunEnded."""
        with self._lock:
            self._time()
            if isinstance(event, RunStarted) and self._started_at is None:
                self._started_at = self._clock.seconds()
                if self.spend.started is None or event.until_restarted:
                    self.spend.started = self._clock.wall()
            elif isinstance(event, RunEnded):
                self._earlier_seconds, self._started_at = self.spend.seconds, None
            self.spend.see(event)

    def open_reserve(self) -> None:
        """The search is over: what follows may use everything that is left of the limits."""
        with self._lock:
            self.limits = replace(self.limits, reserve=0.0)

    def admits_breeding(self, candidates: int = 1) -> Refusal | None:
        """Return why no more candidates may be proposed; None if they may.

        They and the work under way count at their expected costs. Call it in the thread that proposes, so that `Proposed`
        events follow at once. Do not call it for candidates that an earlier process proposed: it has admitted them.
        """
        with self._lock:
            return self._first_refusal(
                self._seconds_until_settled(candidates), lambda limit: limit.candidates(self.spend, candidates)
            )

    def admits_call(self, id: str) -> Refusal | None:
        """Return why no model may be asked for this candidate; None if one may, and the call counts as under way.

        A refused candidate is given up. Only what was spent and the calls under way count here, so that a candidate that
        was admitted is not refused because of later ones.
        """
        with self._lock:
            seconds = self.spend.call_seconds.value + self.spend.evaluation.value
            refusal = self._first_refusal(seconds, lambda limit: limit.call(self.spend, id) if limit.call else None)
            if refusal:
                self.spend.give_up(id)
            else:
                self.spend.mark_asking(id)
            return refusal

    def admits_evaluation(self, id: str) -> Refusal | None:
        """Return why this candidate's evaluation may not start; None if it may, and it counts as running.

        A refused candidate is given up. May be called again until the training starts, since waiting for a slot can take long.
        """
        with self._lock:
            refusal = self._first_refusal(
                self.spend.evaluation.value, lambda limit: limit.evaluation(self.spend, id) if limit.evaluation else None
            )
            if refusal:
                self.spend.give_up(id)
            else:
                self.spend.mark_evaluating(id)
            return refusal

    def seconds_left(self) -> float | None:
        """Seconds until all work must end, grace included; 0 if it must end at once, None without such a limit."""
        with self._lock:
            time = self._time()
            left = [limit.seconds_left(self.limits, time) for limit in self._time_limits()]
        return max(0.0, min(left) + self.limits.grace_seconds) if left else None

    def affordable_evaluations(self) -> float | None:
        """How many more evaluations as long as the recent ones the limits allow, in all slots. None: any number, or unknown."""
        with self._lock:
            time, spend, limits = self._time(), self.spend, self.limits
            found = []
            if spend.evaluation.value:
                left = [limit.seconds_left(limits, time) for limit in self._time_limits()]
                found += [max(0.0, seconds) * self._slots / spend.evaluation.value for seconds in left]
            if limits.gpu_hours is not None and spend.gpu.value:
                found.append(max(0.0, limits.gpu_hours * limits.share * HOUR - spend.gpu_seconds) / spend.gpu.value)
        return min(found, default=None)

    def late(self) -> Refusal | None:
        """Return the time limit that has passed, None if none has. Work under way may go on during the grace."""
        with self._lock:
            time = self._time()
            late = (limit for limit in self._time_limits() if limit.seconds_left(self.limits, time) <= 0)
            return next((_time_refusal(limit, self.limits, time) for limit in late), None)

    def forecast(self, planned: int | None = None) -> Forecast:
        """Compute the forecast, see `compute_forecast`. `planned`: candidates that the schedule proposes if nothing stops it."""
        with self._lock:
            return compute_forecast(self.limits, self.spend, self._time(), self._slots, self._concurrency, planned=planned)

    def _time(self) -> RunTime:
        """The run's time now. Updates `spend.seconds`."""
        if self._started_at is not None:
            self.spend.seconds = self._earlier_seconds + self._clock.seconds() - self._started_at
        return RunTime(self.spend.seconds, self.spend.started, self._clock.wall(), self._clock.zone)

    def _first_refusal(self, seconds: float, need_of: Callable[[AmountLimit], Need | None]) -> Refusal | None:
        """The refusal by the first limit that a step would exceed; None if there is none.

        `seconds`: how long the step takes; `need_of`: how much it takes of an amount, None for nothing.
        """
        time = self._time()
        for limit in CHECKS:
            if getattr(self.limits, limit.key) is None:
                continue
            match limit:
                case TimeLimit():
                    left = limit.seconds_left(self.limits, time)
                    if left <= 0 or seconds > left + self.limits.grace_seconds:
                        return _time_refusal(limit, self.limits, time, seconds)
                case AmountLimit():
                    if (need := need_of(limit)) and (refusal := _amount_refusal(limit, self.limits, self.spend, need)):
                        return refusal
        return None

    def _seconds_until_settled(self, candidates: int) -> float:
        """Expected seconds until the last of so many more candidates has settled, after those that are under way."""
        spend = self.spend
        bred = math.ceil((spend.breeding + candidates) / self._concurrency) * spend.candidate_seconds.value
        evaluated = math.ceil((spend.in_flight + candidates) / self._slots) * spend.evaluation.value
        return max(bred + spend.evaluation.value, spend.candidate_seconds.value + evaluated)

    def _time_limits(self) -> list[TimeLimit]:
        """The time limits that are set."""
        return [limit for limit in LIMITS if isinstance(limit, TimeLimit) and getattr(self.limits, limit.key) is not None]


def _time_refusal(limit: TimeLimit, limits: RunLimits, time: RunTime, seconds: float = 0.0) -> Refusal:
    needs = f"; what comes next needs {amount_text(seconds / HOUR)} hours" if seconds else ""
    return Refusal(limit.key, f"{limit.key}: {limit.state(limits, time)}{needs}")


def _amount_refusal(limit: AmountLimit, limits: RunLimits, spend: Spend, need: Need) -> Refusal | None:
    """The refusal by one limit; None if the search's share of it has room for the need."""

    def in_unit(value: float) -> float:
        return value / limit.unit if limit.unit != 1 else value  # a count stays an int

    ceiling, share = getattr(limits, limit.key), limit.share(limits)
    spent, in_flight, more = in_unit(limit.spent(spend)), in_unit(need.in_flight), in_unit(need.more)
    if spent + in_flight + more <= ceiling * share + 1e-9:
        return None
    under_way = f" and {amount_text(in_flight)} in flight" if in_flight else ""
    state = f"{amount_text(spent)} spent{under_way} of {amount_text(ceiling)}{reserve_text(ceiling, share)}"
    needs = "" if spent >= ceiling else f"; what comes next needs {amount_text(more)}"
    return Refusal(limit.key, f"{limit.key}: {state}{needs}")


def forecast_from_journal(rows: Iterable[Row], config: Mapping[str, Any], planned: int, now: float, *, slots: int) -> Forecast:
    """The forecast of a run that another process works on.

    `rows`: those of `Journal.cost_rows`; `config`: the run's configuration; `planned`: candidates that its schedule proposes;
    `now`: seconds since the epoch; `slots`: evaluations at once. The configuration says these as the user did: `2/gpu`.
    """
    rows = list(rows)
    concurrency = config.get("llm", {}).get("concurrency", 1)
    limits = RunLimits(**config.get("limits", {})).for_search(config.get("confirm", {}).get("at_end"))
    budget = Budget(limits, slots=slots, concurrency=concurrency)
    budget.recall(rows)
    if rows:
        budget.spend.seconds += max(0.0, now - rows[-1][0])
    return budget.forecast(planned)
