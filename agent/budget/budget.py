"""Says before each step of a run whether the user's limits allow it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.budget.clock import HOUR, SYSTEM_CLOCK, Clock, RunTime
from agent.budget.forecast import Forecast, compute_forecast
from agent.budget.limits import LIMITS, AmountLimit, Need, RunLimits, TimeLimit, amount_text, reserve_text
from agent.budget.spend import NO_GUESS, Guess, Spend
from agent.journal.codec import Row
from agent.journal.events import Event, RunEnded, RunStarted
from agent.journal.tracker import Tracker


@dataclass(frozen=True)
class Refusal:
    """Why a step may not begin now. It may later, if what is under way turns out cheaper than expected."""

    limit: str
    """The key in `[limits]`."""
    reason: str
    """One sentence with the figures, without a full stop."""


class Budget:
    """Compares `RunLimits` with `Spend`. Safe from several threads."""

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

        `tracker`: the run's. The budget passes every event and row on to it; what the tracker has seen already changes
        nothing, so whoever shares it may feed it too. None: the budget makes its own.
        """
        self.limits, self.spend = limits, Spend(guess, tracker)
        self._slots, self._concurrency, self._clock = slots, concurrency, clock
        self._earlier_seconds = 0.0
        """Of earlier processes of the run."""
        self._began: float | None = None
        """When this process began, by `Clock.seconds`; None while no process works."""
        # Held while the tracker's own lock is taken, never the other way round.
        self._lock = threading.Lock()

    def recall(self, rows: Iterable[Row]) -> None:
        """What earlier processes spent: the rows of `Journal.cost_rows`, before the first event of this process.

        They leave out what the search wants from a shared tracker, candidates and answers: recall whole rows there first.
        """
        with self._lock:
            self.spend.recall(rows)
            self._earlier_seconds = self.spend.seconds

    def see(self, event: Event) -> None:
        """Each event of this process. The time of the run passes between RunStarted and RunEnded."""
        with self._lock:
            self._time()
            if isinstance(event, RunStarted) and self._began is None:
                self._began = self._clock.seconds()
                if self.spend.started is None or event.until_restarted:
                    self.spend.started = self._clock.wall()
            elif isinstance(event, RunEnded):
                self._earlier_seconds, self._began = self.spend.seconds, None
            self.spend.see(event)

    def open_reserve(self) -> None:
        """The search is over: what follows may use everything that is left of the limits."""
        with self._lock:
            self.limits = replace(self.limits, reserve=0.0)

    def admits_breeding(self, candidates: int = 1) -> Refusal | None:
        """May so many more candidates be proposed? They and what is under way count at their expected costs.

        To be asked by the thread that proposes, so that a yes is followed by their `Proposed`. Candidates that an earlier
        process proposed were admitted then.
        """
        with self._lock:
            return self._first_refusal(
                self._seconds_until_settled(candidates), lambda limit: limit.candidates(self.spend, candidates)
            )

    def admits_call(self, id: str) -> Refusal | None:
        """May a model be asked for this candidate? After a yes the call counts as out; a no gives the candidate up.

        Only what was spent and the calls that are out count here, so that a candidate that was admitted is not refused
        for the sake of those behind it.
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
        """May this candidate's evaluation begin, in a free slot? After a yes it counts as running; a no gives it up.

        It may be asked again until its training begins: a slot can take long to get free.
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
        """Until what is under way must end, the grace included. None: there is no such limit; 0: at once."""
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
        """Is the time of the search over? What is under way may go on for the grace."""
        with self._lock:
            time = self._time()
            late = (limit for limit in self._time_limits() if limit.seconds_left(self.limits, time) <= 0)
            return next((_time_refusal(limit, self.limits, time) for limit in late), None)

    def forecast(self, planned: int | None = None) -> Forecast:
        """See `compute_forecast`. `planned`: candidates that the schedule proposes if nothing stops it."""
        with self._lock:
            return compute_forecast(self.limits, self.spend, self._time(), self._slots, self._concurrency, planned=planned)

    def _time(self) -> RunTime:
        """As of now; `spend.seconds` follows."""
        if self._began is not None:
            self.spend.seconds = self._earlier_seconds + self._clock.seconds() - self._began
        return RunTime(self.spend.seconds, self.spend.started, self._clock.wall(), self._clock.zone)

    def _first_refusal(self, seconds: float, need_of: Callable[[AmountLimit], Need | None]) -> Refusal | None:
        """By the first limit that does not allow a step. `seconds`: that it needs; `need_of`: what it takes of an amount."""
        time = self._time()
        for limit in LIMITS:
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
        """Until the last of so many more candidates has settled, behind those that are under way."""
        s = self.spend
        bred = math.ceil((s.breeding + candidates) / self._concurrency) * s.candidate_seconds.value
        evaluated = math.ceil((s.in_flight + candidates) / self._slots) * s.evaluation.value
        return max(bred + s.evaluation.value, s.candidate_seconds.value + evaluated)

    def _time_limits(self) -> list[TimeLimit]:
        """Those that are set."""
        return [one for one in LIMITS if isinstance(one, TimeLimit) and getattr(self.limits, one.key) is not None]


def _time_refusal(limit: TimeLimit, limits: RunLimits, time: RunTime, seconds: float = 0.0) -> Refusal:
    needs = f"; what comes next needs {amount_text(seconds / HOUR)} hours" if seconds else ""
    return Refusal(limit.key, f"{limit.key}: {limit.state(limits, time)}{needs}")


def _amount_refusal(limit: AmountLimit, limits: RunLimits, spend: Spend, need: Need) -> Refusal | None:
    """None if the search's share of the limit has room for the need."""

    def in_unit(value: float) -> float:
        return value / limit.unit if limit.unit != 1 else value  # a count stays an int

    ceiling, share = getattr(limits, limit.key), limit.share(limits)
    spent, in_flight, more = in_unit(limit.spent(spend)), in_unit(need.in_flight), in_unit(need.more)
    if spent + in_flight + more <= ceiling * share + 1e-9:
        return None
    under_way = f" and {amount_text(in_flight)} in flight" if in_flight else ""
    state = f"{amount_text(spent)} spent{under_way} of {amount_text(ceiling)}{reserve_text(ceiling, share)}"
    return Refusal(limit.key, f"{limit.key}: {state}; what comes next needs {amount_text(more)}")


def forecast_from_journal(rows: Iterable[Row], config: Mapping[str, Any], planned: int, now: float) -> Forecast:
    """The forecast of a run that another process works on.

    `rows`: of `Journal.cost_rows`; `config`: the run's; `planned`: candidates that its schedule proposes; `now`: seconds
    since the epoch.
    """
    rows = list(rows)
    slots, concurrency = config.get("sandbox", {}).get("slots", 1), config.get("llm", {}).get("concurrency", 1)
    limits = RunLimits(**config.get("limits", {})).for_search(config.get("confirm", {}).get("at_end"))
    budget = Budget(limits, slots=slots, concurrency=concurrency)
    budget.recall(rows)
    if rows:
        budget.spend.seconds += max(0.0, now - rows[-1][0])
    return budget.forecast(planned)
