"""What the user allows a run to spend. A new limit is an entry in the table `LIMITS` and its field in `RunLimits`.

Everything else is made from the two: the options of the command line, the section `[limits]` of the configuration, the
checks before each step, the sentences of refusals and forecasts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from agent.budget.clock import HOUR, RunTime, next_time
from agent.core.errors import UserError

if TYPE_CHECKING:
    from agent.budget.spend import Spend


@dataclass(frozen=True)
class RunLimits:
    """What a run may spend at most, all its processes together. None: no limit."""

    hours: float | None = None
    """Wall time during which some process works on the run and the machine is awake."""
    until: str | None = None
    """A local time, HH:MM: the next one after the run's first start. A resume keeps that moment, unless it names a new one."""
    usd: float | None = None
    """Cost of all model calls."""
    tokens: int | None = None
    """Of all prompts and answers."""
    gpu_hours: float | None = None
    """GPUs times hours of all evaluations."""
    variants: int | None = None
    """Candidates that are proposed, whatever becomes of them."""
    reserve: float = 0.1
    """Share of hours, until, usd and gpu_hours that is kept for what follows the search."""
    grace_seconds: float = 60.0
    """How long what is under way may go on when the time of the search is over."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        for limit in limits_in_order():
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
        """Is a limit set of which a reserve is kept?"""
        return bool(self.reserve) and any(value is not None for value in (self.hours, self.until, self.usd, self.gpu_hours))

    def for_search(self, at_end: object) -> RunLimits:
        """The limits of the search. `at_end`: the key of that name in `[confirm]`; where no confirmation follows, there is
        nothing to keep a reserve for."""
        return replace(self, reserve=0.0) if at_end is False else self


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One key of `[limits]` that can end the search."""

    key: str
    """Its field in `RunLimits`; the flag is the same with dashes."""
    value_type: type[float] | type[int] | type[str]
    help: str
    """Of the flag."""
    ending: str
    """The last words of a forecast in which this limit ends the search."""
    metavar: str | None = None
    """How the help shows the flag's value; None: by its type."""


@dataclass(frozen=True, kw_only=True)
class TimeLimit(Limit):
    """A moment at which the search must end. Nothing begins that would end after it and the grace. The reserve applies."""

    seconds_left: Callable[[RunLimits, RunTime], float]
    """Until that moment; negative when it has passed. Only asked if the limit is set."""
    state: Callable[[RunLimits, RunTime], str]
    """A refusal's words on where the run stands."""


@dataclass(frozen=True)
class Need:
    """What a step would take of an amount, in the units of `AmountLimit.spent`."""

    in_flight: float
    """Expected still for what is under way."""
    more: float
    """Expected for the step itself."""


@dataclass(frozen=True, kw_only=True)
class AmountLimit(Limit):
    """A quantity that is used up. A step is refused if what was spent, what is in flight and its own need exceed it."""

    reserved: bool
    """Does the reserve apply?"""
    unit: float = 1
    """How many units of `spent` one unit of the limit is."""
    spent: Callable[[Spend], float]
    candidates: Callable[[Spend, int], Need]
    """To breed and to evaluate so many more candidates."""
    call: Callable[[Spend, str], Need] | None = None
    """For the next model call of the candidate with this id; None: a call takes nothing of it."""
    evaluation: Callable[[Spend, str], Need] | None = None
    """For the evaluation of the candidate with this id; None: an evaluation takes nothing of it."""
    per_candidate: Callable[[Spend], float | None]
    """For the forecast: what one settled candidate takes; None: not known yet."""
    spent_by_settled: Callable[[Spend], float] | None = None
    """For the forecast: what was spent, if that is not `spent`."""

    def share(self, limits: RunLimits) -> float:
        """The part of the limit that the search may use, from 0.1 to 1."""
        return limits.share if self.reserved else 1.0


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


LIMITS: tuple[TimeLimit | AmountLimit, ...] = (
    AmountLimit(
        key="variants",
        value_type=int,
        help="Children that are drawn at most, whatever becomes of them.",
        ending="when as many as were allowed are done",
        reserved=False,
        spent=lambda spend: spend.variants,
        candidates=lambda spend, count: Need(0, count),
        per_candidate=lambda spend: 1.0,
        spent_by_settled=lambda spend: spend.settled,
    ),
    TimeLimit(
        key="hours",
        value_type=float,
        help="Wall time that the run may take.",
        ending="when the hours are used up",
        seconds_left=_seconds_to_hours,
        state=_hours_state,
    ),
    TimeLimit(
        key="until",
        value_type=str,
        metavar="HH:MM",
        help="Local time by which the run ends, such as 07:30.",
        ending="when the time is up",
        seconds_left=_seconds_to_until,
        state=_until_state,
    ),
    AmountLimit(
        key="usd",
        value_type=float,
        help="Dollars that all models together may cost.",
        ending="when the dollars are used up",
        reserved=True,
        spent=lambda spend: spend.usd,
        candidates=lambda spend, count: Need(spend.usd_in_flight, count * spend.usd_per_candidate),
        call=lambda spend, id: Need(spend.calls_out(id) * spend.call_usd.value, spend.call_usd.value),
        per_candidate=lambda spend: spend.usd_per_variant,
    ),
    AmountLimit(
        key="tokens",
        value_type=int,
        help="Tokens of all prompts and answers together.",
        ending="when the tokens are used up",
        reserved=False,
        spent=lambda spend: spend.tokens,
        candidates=lambda spend, count: Need(round(spend.tokens_in_flight), round(count * spend.candidate_tokens.value)),
        call=lambda spend, id: Need(round(spend.calls_out(id) * spend.call_tokens.value), round(spend.call_tokens.value)),
        per_candidate=lambda spend: spend.tokens_per_variant,
    ),
    AmountLimit(
        key="gpu_hours",
        value_type=float,
        help="GPU time of all evaluations together.",
        ending="when the GPU hours are used up",
        reserved=True,
        unit=HOUR,
        spent=lambda spend: spend.gpu_seconds,
        candidates=lambda spend, count: Need(spend.in_flight * spend.gpu.value, count * spend.gpu.value),
        evaluation=lambda spend, id: Need(spend.evaluations(beside=id) * spend.gpu.value, spend.gpu.value),
        per_candidate=lambda spend: spend.gpu_seconds_per_variant,
    ),
)
"""In the order in which they are checked: the first that is exceeded is the one that a refusal names."""


def limits_in_order() -> Iterator[TimeLimit | AmountLimit]:
    """The limits in the order of the fields of `RunLimits`, which is that of the command line's help."""
    by_key = {limit.key: limit for limit in LIMITS}
    return (by_key[field.name] for field in fields(RunLimits) if field.name in by_key)


def reserve_text(ceiling: float, share: float) -> str:
    """How much of a ceiling the search may not use, in words; empty for nothing."""
    return f", of which {amount_text(ceiling * (1 - share))} are kept in reserve" if share < 1 else ""


def amount_text(value: float) -> str:
    """Two decimals, more for what is small, none for a count."""
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


PriceOf = Callable[[str], tuple[float, float] | None]
"""US dollars of a token (in, out) by model; None: unknown."""


def check_prices(limits: RunLimits, models: Sequence[str], price_of: PriceOf) -> None:
    """Raises UserError if dollars are limited and the price of some model is unknown."""
    if limits.usd is None:
        return
    for model in models:
        if model != "offline" and price_of(model) is None:
            raise UserError(
                f"limits.usd cannot be held, since the price of {model} is unknown: give llm.prices.\"{model}\" = [in, out], "
                "in dollars per million tokens."
            )
