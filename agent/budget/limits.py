"""What the user allows a run to spend. A new limit is one entry: a field of `RunLimits`.

Everything else is made from it: the options of the command line, the section `[limits]` of the configuration, the checks
before each step, the sentences of refusals and forecasts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from agent.budget.clock import HOUR, RunTime, next_time
from agent.core.errors import UserError

if TYPE_CHECKING:
    from agent.budget.spend import Spend


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One key of `[limits]` that can end the search."""

    key: str = ""
    """The name of its field in `RunLimits`, which fills it in; the flag is the same with dashes."""
    value_type: type[float] | type[int] | type[str] = float
    """The type of its field, which fills it in."""
    help: str
    """The help text of the flag."""
    ending: str
    """The last words of a forecast if this limit ends the search."""
    metavar: str | None = None
    """How the help shows the flag's value; None: by its type."""
    checked_first: bool = False
    """Does a refusal name this limit even if others are exceeded too?"""


@dataclass(frozen=True, kw_only=True)
class TimeLimit(Limit):
    """A moment at which the search must end. No step starts that would end after it and the grace. The reserve applies."""

    seconds_left: Callable[[RunLimits, RunTime], float]
    """Seconds until that moment; negative when it has passed. Only called if the limit is set."""
    state: Callable[[RunLimits, RunTime], str]
    """How much time is used, as a refusal says it."""


@dataclass(frozen=True)
class Need:
    """How much of an amount a step needs, in the units of `AmountLimit.spent`."""

    in_flight: float
    """What work under way is still expected to use."""
    more: float
    """What the step itself is expected to use."""


@dataclass(frozen=True, kw_only=True)
class AmountLimit(Limit):
    """A quantity that is used up. A step is refused if what was spent, what is in flight and its own need exceed it."""

    reserved: bool
    """Whether the reserve applies."""
    unit: float = 1
    """How many units of `spent` one unit of the limit is."""
    spent: Callable[[Spend], float]
    candidates: Callable[[Spend, int], Need]
    """The need of breeding and evaluating so many more candidates."""
    call: Callable[[Spend, str], Need] | None = None
    """The need of the next model call of the candidate with this id; None: a call uses nothing of this amount."""
    evaluation: Callable[[Spend, str], Need] | None = None
    """The need of evaluating the candidate with this id; None: an evaluation uses nothing of this amount."""
    per_candidate: Callable[[Spend], float | None]
    """For the forecast: what one settled candidate uses; None: not known yet."""
    spent_by_settled: Callable[[Spend], float] | None = None
    """For the forecast: what was spent, if the forecast counts it differently from `spent`."""

    def share(self, limits: RunLimits) -> float:
        """The part of the limit that the search may use, from 0.1 to 1."""
        return limits.share if self.reserved else 1.0


def _entry(limit: TimeLimit | AmountLimit) -> Any:
    """A field of `RunLimits` with its limit; None unless the user sets it."""
    return field(default=None, metadata={"limit": limit})


def _seconds_to_hours(limits: RunLimits, time: RunTime) -> float:
    return (limits.hours or 0.0) * limits.share * HOUR - time.used


def _hours_state(limits: RunLimits, time: RunTime) -> str:
    ceiling = limits.hours or 0.0
    return f"{amount_text(time.used / HOUR)} used of {amount_text(ceiling)}{reserve_text(ceiling, limits.share)}"


def _seconds_to_until(limits: RunLimits, time: RunTime) -> float:
    started = time.now if time.started is None else time.started
    moment = next_time(limits.until or "00:00", started, time.zone)
    return started + (moment - started) * limits.share - time.now


def _until_state(limits: RunLimits, time: RunTime) -> str:
    kept = f", {limits.reserve:.0%} of the time before {limits.until} are kept in reserve" if limits.reserve else ""
    return f"it is {time.local()} and the search ends at {time.local(_seconds_to_until(limits, time))}{kept}"


@dataclass(frozen=True)
class RunLimits:
    """The most that all processes of a run together may spend. None: no limit. The order is that of the command line's help."""

    hours: float | None = _entry(
        TimeLimit(
            help="Wall time that the run may take.",
            ending="when the hours are used up",
            seconds_left=_seconds_to_hours,
            state=_hours_state,
        )
    )
    """Wall time during which some process works on the run and the machine is awake."""
    until: str | None = _entry(
        TimeLimit(
            metavar="HH:MM",
            help="Local time by which the run ends, such as 07:30.",
            ending="when the time is up",
            seconds_left=_seconds_to_until,
            state=_until_state,
        )
    )
    """A local time, HH:MM: the next one after the run's first start. A resume keeps that moment, unless it names a new one."""
    usd: float | None = _entry(
        AmountLimit(
            help="Dollars that all models together may cost.",
            ending="when the dollars are used up",
            reserved=True,
            spent=lambda spend: spend.usd,
            candidates=lambda spend, count: Need(spend.usd_in_flight, count * spend.usd_per_candidate),
            call=lambda spend, id: Need(spend.calls_out(id) * spend.call_usd.value, spend.call_usd.value),
            per_candidate=lambda spend: spend.usd_per_variant,
        )
    )
    """Cost of all model calls."""
    tokens: int | None = _entry(
        AmountLimit(
            help="Tokens of all prompts and answers together.",
            ending="when the tokens are used up",
            reserved=False,
            spent=lambda spend: spend.tokens,
            candidates=lambda spend, count: Need(round(spend.tokens_in_flight), round(count * spend.candidate_tokens.value)),
            call=lambda spend, id: Need(round(spend.calls_out(id) * spend.call_tokens.value), round(spend.call_tokens.value)),
            per_candidate=lambda spend: spend.tokens_per_variant,
        )
    )
    """Tokens of all prompts and answers."""
    gpu_hours: float | None = _entry(
        AmountLimit(
            help="GPU time of all evaluations together.",
            ending="when the GPU hours are used up",
            reserved=True,
            unit=HOUR,
            spent=lambda spend: spend.gpu_seconds,
            candidates=lambda spend, count: Need(spend.in_flight * spend.gpu.value, count * spend.gpu.value),
            evaluation=lambda spend, id: Need(spend.evaluations(without=id) * spend.gpu.value, spend.gpu.value),
            per_candidate=lambda spend: spend.gpu_seconds_per_variant,
        )
    )
    """GPUs times hours of all evaluations."""
    variants: int | None = _entry(
        AmountLimit(
            help="Candidates that are proposed at most, however they end.",
            ending="when as many as were allowed are done",
            checked_first=True,
            reserved=False,
            spent=lambda spend: spend.variants,
            candidates=lambda spend, count: Need(0, count),
            per_candidate=lambda spend: 1.0,
            spent_by_settled=lambda spend: spend.settled,
        )
    )
    """Candidates that are proposed, however they end."""
    reserve: float = 0.1
    """Share of hours, until, usd and gpu_hours that is kept for work after the search."""
    grace_seconds: float = 60.0
    """How long work under way may go on when the time of the search is over."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for limit in LIMITS:
            value = getattr(self, limit.key)
            if limit.value_type is not str and value is not None and not 0 < value < math.inf:
                raise ValueError(f"{limit.key} must be a number above 0; leave it out for no limit")
        if self.until is not None and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", self.until, re.ASCII):
            raise ValueError(f"until must be a local time such as 07:30, not {self.until!r}")
        if not 0 <= self.reserve <= 0.9:
            raise ValueError("reserve is a share, from 0 to 0.9")
        if not 0 <= self.grace_seconds < math.inf:
            raise ValueError("grace_seconds cannot be negative or without end")

    @property
    def share(self) -> float:
        """The part of reserved limits that the search may use, from 0.1 to 1."""
        return 1 - self.reserve

    @property
    def keeps_reserve(self) -> bool:
        """Whether a limit is set of which a reserve is kept."""
        return bool(self.reserve) and any(value is not None for value in (self.hours, self.until, self.usd, self.gpu_hours))

    def for_search(self, at_end: object) -> RunLimits:
        """The limits of the search. `at_end`: the key of that name in `[confirm]`; if no confirmation follows, there is
        nothing to keep a reserve for."""
        return replace(self, reserve=0.0) if at_end is False else self


def _entries() -> Iterator[TimeLimit | AmountLimit]:
    """The limits of the fields of `RunLimits`, each with the name and the type of its field."""
    types = get_type_hints(RunLimits)
    for one in fields(RunLimits):
        if limit := one.metadata.get("limit"):
            yield replace(limit, key=one.name, value_type=get_args(types[one.name])[0])


LIMITS = tuple(_entries())
"""All limits, in the order of the command line's help."""
CHECKS = tuple(sorted(LIMITS, key=lambda limit: not limit.checked_first))
"""The same in the order in which they are checked: the first that is exceeded is the one that a refusal names."""


def reserve_text(ceiling: float, share: float) -> str:
    """How much of a limit is kept in reserve, as part of a sentence; empty for nothing."""
    return f", of which {amount_text(ceiling * (1 - share))} are kept in reserve" if share < 1 else ""


def amount_text(value: float) -> str:
    """A number with two decimals, more for a small one, none for a count."""
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


PriceOf = Callable[[str], object | None]
"""The price of a model's tokens; None: unknown."""


def check_prices(limits: RunLimits, models: Sequence[str], price_of: PriceOf) -> None:
    """Raises UserError if dollars are limited and the price of some model is unknown."""
    if limits.usd is None:
        return
    for model in models:
        if model != "offline" and price_of(model) is None:
            raise UserError(
                f'limits.usd cannot be held, since the price of {model} is unknown: give llm.prices."{model}" = [in, out], '
                "in dollars per million tokens."
            )
