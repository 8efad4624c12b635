"""May the next step be taken?"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from agent.budget.forecast import Forecast, forecast
from agent.budget.limits import HOUR, RunLimits, seconds_left
from agent.budget.spend import NOTHING, Guess, Spend
from agent.journal.events import Event, RunEnded, RunStarted


@dataclass(frozen=True)
class Clock:
    """Where time is read, so that a test can set it."""

    seconds: Callable[[], float] = time.monotonic
    """For durations: never jumps, and stands still while the machine sleeps."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch, for `until` alone: it may jump."""
    zone: tzinfo | None = None
    """None: the system's local time."""


SYSTEM = Clock()


@dataclass(frozen=True)
class Refusal:
    """Why something may not be begun. Later it may, if what is under way comes out cheaper than expected."""

    limit: str
    """The key in `[limits]`."""
    reason: str
    """One sentence with the figures, without a full stop."""


class Budget:
    """Says before each step whether it may be taken. Safe from several threads."""

    def __init__(
        self, limits: RunLimits, *, slots: int = 1, concurrency: int = 1, clock: Clock = SYSTEM, guess: Guess = NOTHING
    ) -> None:
        """`slots`: evaluations at once; `concurrency`: children that are bred at once."""
        self.limits, self.spend = limits, Spend(guess)
        self._slots, self._concurrency, self._clock = slots, concurrency, clock
        self._earlier = 0.0
        self._began: float | None = None
        self._lock = threading.Lock()

    def recall(self, rows: Iterable[tuple[float, str, str, Mapping[str, Any]]]) -> None:
        """See `Spend.recall`; before the first event of this process."""
        with self._lock:
            self.spend.recall(rows)
            self._earlier = self.spend.seconds

    def see(self, event: Event) -> None:
        """The time of the run passes between RunStarted and RunEnded."""
        with self._lock:
            self._tick()
            if isinstance(event, RunStarted) and self._began is None:
                self._began = self._clock.seconds()
                if self.spend.started is None or event.until_restarted:
                    self.spend.started = self._clock.wall()
            elif isinstance(event, RunEnded):
                self._earlier, self._began = self.spend.seconds, None
            self.spend.see(event)

    def admits_breeding(self, children: int = 1) -> Refusal | None:
        """May so many more children be drawn? What is under way counts at its expected cost, these ones too.

        From the thread that draws them, so that a yes is followed by their Proposed. Children that an earlier process
        drew were admitted then.
        """
        with self._lock:
            self._tick()
            s, limits, share = self.spend, self.limits, self.limits.share
            return (
                _over("variants", limits.variants, 1.0, s.variants, 0.0, children)
                or self._late(self._until_settled(children))
                or _over("usd", limits.usd, share, s.usd, s.usd_in_flight, children * s.usd_per_child)
                or _over("tokens", limits.tokens, 1.0, *_tokens(s, children))
                or _over("gpu_hours", limits.gpu_hours, share, *_gpu_hours(s, s.in_flight, children))
            )

    def admits_call(self, id: str) -> Refusal | None:
        """May this child's model be asked? A yes counts the call as out, a no the child as given up.

        Only what was spent and the calls that are out count here, so that a child that was admitted is not refused for
        the sake of those behind it.
        """
        with self._lock:
            self._tick()
            s, limits = self.spend, self.limits
            out = s.calls_out(id)
            call, tokens = s.call_usd.value, s.call_tokens.value
            refusal = (
                self._late(s.call_seconds.value + s.evaluation.value)
                or _over("usd", limits.usd, limits.share, s.usd, out * call, call)
                or _over("tokens", limits.tokens, 1.0, s.tokens_in + s.tokens_out, round(out * tokens), round(tokens))
            )
            if refusal:
                s.give_up(id)
            else:
                s.ask(id)
            return refusal

    def admits_evaluation(self, id: str) -> Refusal | None:
        """May this child's evaluation begin, in a slot that is free? A yes counts it as running, a no as given up.

        It may be asked again until its training begins: a slot can take long to get free.
        """
        with self._lock:
            self._tick()
            s, limits = self.spend, self.limits
            others = len(s.evaluating - {id})
            refusal = self._late(s.evaluation.value) or _over(
                "gpu_hours", limits.gpu_hours, limits.share, *_gpu_hours(s, others, 1)
            )
            if refusal:
                s.give_up(id)
            else:
                s.evaluating.add(id)
            return refusal

    def seconds_left(self) -> float | None:
        """Until what is under way must end, the grace included; None: it need not, 0: at once."""
        with self._lock:
            self._tick()
            ends = self._time_left()
        return max(0.0, min(ends.values()) + self.limits.grace_seconds) if ends else None

    def late(self) -> Refusal | None:
        """Is the time of the search over? What is under way may go on for the grace."""
        with self._lock:
            self._tick()
            return next((self._refuse(limit, left, 0.0) for limit, left in self._time_left().items() if left <= 0), None)

    def forecast(self, planned: int | None = None) -> Forecast:
        """See `forecast`."""
        with self._lock:
            self._tick()
            clock = self._clock
            return forecast(
                self.limits, self.spend, clock.wall(), self._slots, self._concurrency, planned=planned, zone=clock.zone
            )

    def _tick(self) -> None:
        if self._began is not None:
            self.spend.seconds = self._earlier + self._clock.seconds() - self._began

    def _until_settled(self, children: int) -> float:
        """Seconds until the last of so many more children has settled, behind those that are under way."""
        s = self.spend
        bred = math.ceil((s.breeding + children) / self._concurrency) * s.child_seconds.value
        evaluated = math.ceil((s.in_flight + children) / self._slots) * s.evaluation.value
        return max(bred + s.evaluation.value, s.child_seconds.value + evaluated)

    def _time_left(self) -> dict[str, float]:
        return seconds_left(self.limits, self.spend.started, self.spend.seconds, self._clock.wall(), self._clock.zone)

    def _late(self, seconds: float) -> Refusal | None:
        """Has the search no time left for what takes so many seconds?"""
        for limit, left in self._time_left().items():
            if left <= 0 or seconds > left + self.limits.grace_seconds:
                return self._refuse(limit, left, seconds)
        return None

    def _refuse(self, limit: str, left: float, seconds: float) -> Refusal:
        said = self._hours() if limit == "hours" else self._until(left)
        needs = f"; what comes next needs {_number(seconds / HOUR)} hours" if seconds else ""
        return Refusal(limit, f"{limit}: {said}{needs}")

    def _hours(self) -> str:
        ceiling = self.limits.hours or 0.0
        return f"{_number(self.spend.seconds / HOUR)} used of {_number(ceiling)}{_kept(ceiling, self.limits.share)}"

    def _until(self, left: float) -> str:
        limits, wall, zone = self.limits, self._clock.wall(), self._clock.zone
        kept = f", {limits.reserve:.0%} of the time before {limits.until} are kept in reserve" if limits.reserve else ""
        return f"it is {_local(wall, zone)} and the search ends at {_local(wall + left, zone)}{kept}"


def _tokens(s: Spend, children: int) -> tuple[float, float, float]:
    return s.tokens_in + s.tokens_out, round(s.tokens_in_flight), round(children * s.child_tokens.value)


def _gpu_hours(s: Spend, in_flight: int, more: int) -> tuple[float, float, float]:
    return s.gpu_seconds / HOUR, in_flight * s.gpu.value / HOUR, more * s.gpu.value / HOUR


def _over(limit: str, ceiling: float | None, share: float, spent: float, in_flight: float, more: float) -> Refusal | None:
    """Would `more` exceed the share of the ceiling?"""
    if ceiling is None or spent + in_flight + more <= ceiling * share + 1e-9:
        return None
    under_way = f" and {_number(in_flight)} in flight" if in_flight else ""
    said = f"{_number(spent)} spent{under_way} of {_number(ceiling)}{_kept(ceiling, share)}"
    return Refusal(limit, f"{limit}: {said}; what comes next needs {_number(more)}")


def _kept(ceiling: float, share: float) -> str:
    return f", of which {_number(ceiling * (1 - share))} are kept in reserve" if share < 1 else ""


def _number(value: float) -> str:
    """Two decimals, more for what is small, none for a count."""
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def _local(moment: float, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(moment, zone):%H:%M}"


def forecast_from_journal(
    rows: Iterable[tuple[float, str, str, Mapping[str, Any]]], config: Mapping[str, Any], planned: int, now: float
) -> Forecast:
    """Of a run that another process works on: from its journal's rows and its configuration. `now`: since the epoch."""
    rows = list(rows)
    slots, concurrency = config.get("sandbox", {}).get("slots", 1), config.get("llm", {}).get("concurrency", 1)
    budget = Budget(RunLimits(**config.get("limits", {})), slots=slots, concurrency=concurrency)
    budget.recall(rows)
    if rows:
        budget.spend.seconds += max(0.0, now - rows[-1][0])
    return budget.forecast(planned)
