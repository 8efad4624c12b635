"""The ceilings of a run: hours, dollars, tokens, GPU hours, children. Asked before anything is spent; no I/O.

`Limits` is what the user allows, `Spend` what the run's events say of its costs, `Budget` compares the two:

    budget = Budget(limits, slots=..., concurrency=...)
    budget.recall(journal.events())           # a resumed run: what earlier processes spent
    budget.see(event)                         # every event of this process, RunStarted first
    budget.admits_breeding()                  # before a child is drawn: a Refusal, or None for yes
    budget.admits_evaluation(id)              # before its evaluation begins, from the thread that will wait for it

What follows the search may use the reserve: it asks a budget whose limits have `reserve=0`.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from agent.errors import UserError
from agent.events import Answered, Asked, Bred, Drawn, Event, RunEnded, RunStarted, Settled
from agent.individual import SEED_ID, Individual

_HOUR = 3600.0
_MEMORY = 50
"""A running mean is that of about so many of the last values."""
_WINDOW = 256
"""The pace of a run is that of so many of the last children."""


@dataclass(frozen=True)
class Limits:
    """What a run may spend at most; None: without limit."""

    hours: float | None = None
    """Of wall time, over all processes of the run, while they run and the machine is awake."""
    until: str | None = None
    """A local time, HH:MM: the next one after the run's first start. It stays that moment when the run is resumed."""
    usd: float | None = None
    tokens: int | None = None
    """Of all prompts and answers together."""
    gpu_hours: float | None = None
    variants: int | None = None
    """Children that are drawn, whatever becomes of them."""
    reserve: float = 0.1
    """Share of hours, until, usd and gpu_hours that is kept for what follows the search."""
    grace_seconds: float = 60.0
    """How long what is under way may go on when the time of the search is over."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for name in ("hours", "usd", "tokens", "gpu_hours", "variants"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0; leave it out for no limit")
        if self.until is not None and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", self.until, re.ASCII):
            raise ValueError(f"until must be a local time such as 07:30, not {self.until!r}")
        if not 0 <= self.reserve <= 0.9:
            raise ValueError("reserve is a share, from 0 to 0.9")
        if not 0 <= self.grace_seconds < math.inf:
            raise ValueError("grace_seconds cannot be negative or without end")

    @property
    def share(self) -> float:
        """Of time and money, for the search."""
        return 1 - self.reserve


PriceOf = Callable[[str], tuple[float, float] | None]
"""US dollars of a token (in, out) by model; None: unknown."""


def check(limits: Limits, models: Sequence[str], price_of: PriceOf) -> None:
    """Raises UserError if dollars are limited and those of some model cannot be counted."""
    if limits.usd is None:
        return
    for model in models:
        if model != "offline" and price_of(model) is None:
            raise UserError(
                f"limits.usd cannot be held, since the price of {model} is unknown: give llm.prices.\"{model}\" = [in, out], "
                "in dollars per million tokens."
            )


def next_time(text: str, now: float, zone: tzinfo | None = None) -> float:
    """The moment (seconds since the epoch) of the next local time `HH:MM` after `now`. `zone`: None is the system's.

    A time that comes twice, when clocks are set back, is its next occurrence; one that is skipped, when they are set
    forward, is the moment at which it would have come.
    """
    hour, minute = map(int, text.split(":"))
    today = datetime.fromtimestamp(now, zone)
    moments = []
    for day in (today - timedelta(days=1), today, today + timedelta(days=1), today + timedelta(days=2)):
        local = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
        both = [local.replace(fold=fold).timestamp() for fold in (0, 1)]
        real = [m for m in both if (t := datetime.fromtimestamp(m, zone)).hour == hour and t.minute == minute]
        moments.extend(real or both[:1])
    return min(m for m in moments if m > now)


@dataclass(frozen=True)
class Clock:
    """Where time is read, so that a test can set it."""

    seconds: Callable[[], float] = time.monotonic
    """For durations: never jumps, and stands still while the machine sleeps."""
    wall: Callable[[], float] = time.time
    """Seconds since the epoch, for `until` alone: it may jump."""
    zone: tzinfo | None = None
    """None: the system's local time."""


@dataclass(frozen=True)
class Guess:
    """What one child is believed to cost until the first ones have told."""

    usd: float = 0.0
    tokens: float = 0.0
    breeding_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    gpu_seconds: float = 0.0


class Mean:
    """A running mean that forgets slowly: plain at first, then exponentially weighted."""

    def __init__(self, guess: float = 0.0) -> None:
        self.value, self._count = guess, 0

    @property
    def known(self) -> bool:
        return self._count > 0

    def add(self, value: float) -> None:
        self._count += 1
        weight = max(1 / self._count, 1 / _MEMORY)
        self.value = value if self._count == 1 else self.value + weight * (value - self.value)


class _Child:
    """One that was drawn and has not settled."""

    def __init__(self) -> None:
        self.usd, self.tokens, self.seconds, self.gpu_seconds = 0.0, 0, 0.0, 0.0
        self.asking = self.bred = self.priced_in_part = False


class Spend:
    """What a run has spent and has under way: a fold over its events, each of which counts once."""

    def __init__(self, guess: Guess = Guess()) -> None:
        self.started: float | None = None
        """Seconds since the epoch of the run's first start."""
        self.seconds = 0.0
        """Wall time of all processes of the run up to the last event."""
        self.usd = 0.0
        self.tokens_in = self.tokens_out = 0
        self.llm_calls = self.unpriced_calls = 0
        self.evaluation_seconds = self.gpu_seconds = 0.0
        self.variants = self.settled = 0
        """Children drawn; children settled, whatever became of them. The seed is neither."""
        self.call_usd, self.call_seconds = Mean(guess.usd), Mean(guess.breeding_seconds)
        # of one child, from being drawn to having its code:
        self.child_usd, self.child_tokens = Mean(guess.usd), Mean(guess.tokens)
        self.child_seconds = Mean(guess.breeding_seconds)
        # of one evaluation:
        self.evaluation, self.gpu = Mean(guess.evaluation_seconds), Mean(guess.gpu_seconds)
        # of one settled child, and so with the share of those that are never evaluated:
        self.variant_usd, self.variant_tokens = Mean(), Mean()
        self.variant_evaluation, self.variant_gpu = Mean(), Mean()
        self.ends: deque[float] = deque([0.0], _WINDOW + 1)
        """`seconds` at which the last children settled."""
        self.evaluating: set[str] = set()
        self._children: dict[str, _Child] = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def breeding(self) -> int:
        """Children under way that have no code yet."""
        return sum(not child.bred for child in self._children.values())

    @property
    def in_flight(self) -> int:
        """Children under way."""
        return len(self._children)

    @property
    def usd_per_child(self) -> float:
        return self.child_usd.value if self.child_usd.known else max(self.child_usd.value, self.call_usd.value)

    @property
    def usd_in_flight(self) -> float:
        """What the children under way are expected to cost still; a call that is out costs at least a call."""
        each, call = self.usd_per_child, self.call_usd.value
        bred = (c for c in self._children.values() if not c.bred)
        return sum(max(each - child.usd, call if child.asking else 0.0) for child in bred)

    @property
    def tokens_in_flight(self) -> float:
        return sum(max(self.child_tokens.value - c.tokens, 0.0) for c in self._children.values() if not c.bred)

    @property
    def gpu_seconds_in_flight(self) -> float:
        return self.in_flight * self.gpu.value

    def see(self, event: Event) -> None:
        """An event of this process. `started` and `seconds` are the caller's to set, who has the clock."""
        match event:
            case Drawn(birth):
                self._drawn(birth.id)
            case Asked(id, _):
                self._asked(id)
            case Answered(id, call, completion):
                usage = completion.usage
                self._answered(id, str(call), completion.usd, usage.tokens_in, usage.tokens_out, completion.seconds)
            case Bred(variant):
                self._bred(variant.id)
            case Settled(outcome, seconds, gpus):
                stages = outcome.evidence.seconds if isinstance(outcome, Individual) else None
                self._settled(outcome.id, seconds, gpus, stages)
            case _:
                pass

    def recall(self, rows: Iterable[tuple[float, str, str, Mapping[str, Any]]]) -> None:
        """The journal's rows (`Journal.events()`): what earlier processes did, and for how long.

        Their time is read from the rows, written by the wall clock: steps backward count as nothing, but while a
        machine slept cannot be told from work.
        """
        running, previous = False, 0.0
        for moment, kind, key, data in rows:
            if running and kind != "started":
                self.seconds += max(0.0, moment - previous)
            previous = moment
            id, _, call = key.partition("/")
            match kind:
                case "started":
                    running = True
                    self.started = moment if self.started is None else self.started
                case "ended":
                    running = False
                case "drawn":
                    self._drawn(key)
                case "asked":
                    self._asked(id)
                case "answered":
                    self._answered(id, call, data["usd"], data["tokens_in"], data["tokens_out"], data["seconds"])
                case "bred":
                    self._bred(key)
                case "settled":
                    stages = data.get("evidence", {}).get("seconds")
                    self._settled(key, data.get("seconds"), data.get("gpus", 0.0), stages)

    def give_up(self, id: str) -> None:
        """A child that was drawn is under way no longer, and has not settled either."""
        self.evaluating.discard(id)
        self._children.pop(id, None)

    def _once(self, kind: str, key: str) -> bool:
        """A resume passes by events again that it knows from the journal."""
        if (kind, key) in self._seen:
            return False
        self._seen.add((kind, key))
        return True

    def _drawn(self, id: str) -> None:
        if self._once("drawn", id):
            self.variants += 1
            self._children[id] = _Child()

    def _asked(self, id: str) -> None:
        if child := self._children.get(id):
            child.asking = True

    def _answered(self, id: str, call: str, usd: float | None, tokens_in: int, tokens_out: int, seconds: float) -> None:
        if not self._once("answered", f"{id}/{call}"):
            return
        self.llm_calls += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.call_seconds.add(seconds)
        if usd is None:
            self.unpriced_calls += 1
        else:
            self.usd += usd
            self.call_usd.add(usd)
        if child := self._children.get(id):
            child.asking = False
            child.usd += usd or 0.0
            child.tokens += tokens_in + tokens_out
            child.seconds += seconds
            child.priced_in_part |= usd is None

    def _bred(self, id: str) -> None:
        child = self._children.get(id)
        if child and not child.bred:
            self._has_code(child)

    def _has_code(self, child: _Child) -> None:
        child.bred, child.asking = True, False
        self.child_tokens.add(child.tokens)
        self.child_seconds.add(child.seconds)
        if not child.priced_in_part:
            self.child_usd.add(child.usd)

    def _settled(self, id: str, seconds: float | None, gpus: float, stages: Mapping[str, float] | None) -> None:
        """`seconds`: of its evaluation; where that was not told, the `stages` of a trained one stand in."""
        if not self._once("settled", id):
            return
        if seconds is not None:
            self.gpu_seconds += seconds * gpus
            self.gpu.add(seconds * gpus)
        elif stages:
            seconds = sum(stages.values())
        if seconds is not None:
            self.evaluation_seconds += seconds
            self.evaluation.add(seconds)
        if id == SEED_ID:
            return
        self.settled += 1
        self.ends.append(self.seconds)
        child = self._children.pop(id, None)
        self.evaluating.discard(id)
        if child is None:  # it was given up before; what it cost is counted, what one costs was not learnt from it
            return
        if not child.bred:
            self._has_code(child)
        self.variant_tokens.add(child.tokens)
        self.variant_evaluation.add(seconds or 0.0)
        self.variant_gpu.add((seconds or 0.0) * gpus)
        if not child.priced_in_part:
            self.variant_usd.add(child.usd)


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
        self, limits: Limits, *, slots: int = 1, concurrency: int = 1, clock: Clock = Clock(), guess: Guess = Guess()
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
                if self.spend.started is None:
                    self.spend.started = self._clock.wall()
            elif isinstance(event, RunEnded):
                self._earlier, self._began = self.spend.seconds, None
            self.spend.see(event)

    def admits_breeding(self, children: int = 1) -> Refusal | None:
        """May so many more children be drawn? What is under way counts at its expected cost, these ones too.

        From the thread that draws them, so that a yes is followed by their Drawn. Children that an earlier process
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

    def admits_evaluation(self, id: str) -> Refusal | None:
        """May this child's evaluation begin? A yes counts it as running, a no as given up."""
        with self._lock:
            self._tick()
            s, limits = self.spend, self.limits
            others = len(s.evaluating - {id})
            refusal = self._late((others // self._slots + 1) * s.evaluation.value) or _over(
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
            ends = _ends(self.limits, self.spend, self._clock.wall(), self._clock.zone)
        return max(0.0, min(ends.values()) + self.limits.grace_seconds) if ends else None

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

    def _late(self, seconds: float) -> Refusal | None:
        """Has the search no time left for what takes so many seconds?"""
        limits, wall, zone = self.limits, self._clock.wall(), self._clock.zone
        for limit, left in _ends(limits, self.spend, wall, zone).items():
            if left <= 0 or seconds > left + limits.grace_seconds:
                next_one = f"; what comes next needs {_number(seconds / _HOUR)} hours" if left > 0 else ""
                if limits.hours is not None and limit == "hours":
                    said = f"{_number(self.spend.seconds / _HOUR)} used of {_number(limits.hours)}{_kept(limits.hours, limits.share)}"
                else:
                    kept = f", {limits.reserve:.0%} of the time before {limits.until} are kept in reserve" if limits.reserve else ""
                    said = f"it is {_local(wall, zone)} and the search ends at {_local(wall + left, zone)}{kept}"
                return Refusal(limit, f"{limit}: {said}{next_one}")
        return None


@dataclass(frozen=True)
class Forecast:
    """What the running means promise. None where nothing is known yet."""

    seconds_per_variant: float | None
    """Of wall time from one settled child to the next."""
    usd_per_variant: float | None
    gpu_seconds_per_variant: float | None
    variants: int | None
    """How many more children will settle before the search ends; None: unknown, or without end."""
    limit: str | None
    """The key in `[limits]` that ends it; `planned` if the plan is done before."""
    ends: float | None
    """When, in seconds since the epoch."""


def forecast(
    limits: Limits,
    spend: Spend,
    now: float,
    slots: int,
    concurrency: int = 1,
    *,
    planned: int | None = None,
    zone: tzinfo | None = None,
) -> Forecast:
    """`now`: seconds since the epoch; `planned`: children that the schedule draws if nothing stops it."""
    s, share = spend, limits.share
    pace = _pace(s, slots, concurrency)
    usd, tokens, gpu = (m.value if m.known else None for m in (s.variant_usd, s.variant_tokens, s.variant_gpu))
    rooms: list[tuple[str, float, float | None]] = [  # what is left, and what one child takes of it
        *((limit, left, pace) for limit, left in _ends(limits, s, now, zone).items()),
        *([("usd", limits.usd * share - s.usd, usd)] if limits.usd else []),
        *([("tokens", limits.tokens - s.tokens_in - s.tokens_out, tokens)] if limits.tokens else []),
        *([("gpu_hours", limits.gpu_hours * share * _HOUR - s.gpu_seconds, gpu)] if limits.gpu_hours else []),
        *([("variants", limits.variants - s.settled, 1.0)] if limits.variants else []),
        *([("planned", planned - s.settled, 1.0)] if planned is not None else []),
    ]
    more: list[tuple[int, str]] = []
    for limit, left, each in rooms:
        if each is None:
            more.clear()  # one that is unknown may be the first to end it
            break
        if left <= 0 or each > 0:
            more.append((max(0, int(left / each)) if left > 0 else 0, limit))
    if not more:
        return Forecast(pace, usd, gpu, None, None, None)
    variants, first = min(more)
    return Forecast(pace, usd, gpu, variants, first, None if pace is None else now + variants * pace)


def _pace(s: Spend, slots: int, concurrency: int) -> float | None:
    """Wall seconds from one settled child to the next.

    What the narrower of breeding and evaluation lets through, until every slot has settled a few; then as observed,
    with all waiting in it.
    """
    settled = len(s.ends) - 1
    if settled >= 3 * max(slots, concurrency):
        return (s.ends[-1] - s.ends[0]) / settled
    if not (s.child_seconds.known and s.evaluation.known):
        return None
    evaluation = s.variant_evaluation if s.variant_evaluation.known else s.evaluation
    return max(s.child_seconds.value / concurrency, evaluation.value / slots)


def _ends(limits: Limits, spend: Spend, wall: float, zone: tzinfo | None) -> dict[str, float]:
    """Seconds until the search must end, by limit; negative when that is past."""
    ends = {}
    if limits.hours is not None:
        ends["hours"] = limits.hours * limits.share * _HOUR - spend.seconds
    if limits.until is not None:
        started = wall if spend.started is None else spend.started
        moment = next_time(limits.until, started, zone)
        ends["until"] = started + (moment - started) * limits.share - wall
    return ends


def _tokens(s: Spend, children: int) -> tuple[float, float, float]:
    return s.tokens_in + s.tokens_out, s.tokens_in_flight, children * s.child_tokens.value


def _gpu_hours(s: Spend, in_flight: int, more: int) -> tuple[float, float, float]:
    return s.gpu_seconds / _HOUR, in_flight * s.gpu.value / _HOUR, more * s.gpu.value / _HOUR


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
