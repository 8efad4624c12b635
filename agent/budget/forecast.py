"""Forecast how far a run will get, from its measurements so far: as numbers, as facts for `--json` and in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.budget.clock import RunTime
from agent.budget.limits import LIMITS, AmountLimit, RunLimits, TimeLimit
from agent.budget.spend import Spend

PLANNED = "planned"
"""Stands for the key of a limit if the schedule ends the search before any limit."""


@dataclass(frozen=True)
class Forecast:
    """How far the run will get by its running means. None where nothing is known yet."""

    seconds_per_variant: float | None
    """Wall time from one settled candidate to the next."""
    usd_per_variant: float | None
    gpu_seconds_per_variant: float | None
    variants: int | None
    """How many more candidates will settle before the search ends; None if unknown, or if nothing ends it."""
    limit: str | None
    """The key in `[limits]` that ends the search; `planned` if the schedule ends it before."""
    ends: float | None
    """When the search ends, in seconds since the epoch."""


def compute_forecast(
    limits: RunLimits, spend: Spend, time: RunTime, slots: int, concurrency: int = 1, *, planned: int | None = None
) -> Forecast:
    """`slots`: evaluations at once; `concurrency`: candidates bred at once; `planned`: candidates that the schedule proposes."""
    pace = _pace(spend, slots, concurrency)
    usd, gpu = spend.usd_per_variant, spend.gpu_seconds_per_variant
    ends: list[tuple[int, str]] = []
    for key, left, each in _remaining(limits, spend, time, pace, planned):
        if each is None:
            ends.clear()  # this limit may be the first to end the search, but its use is unknown
            break
        if left <= 0 or each > 0:
            ends.append((max(0, int(left / each)) if left > 0 else 0, key))
    if not ends:
        return Forecast(pace, usd, gpu, None, None, None)
    variants, first = min(ends)
    return Forecast(pace, usd, gpu, variants, first, None if pace is None else time.now + variants * pace)


def _remaining(
    limits: RunLimits, spend: Spend, time: RunTime, pace: float | None, planned: int | None
) -> list[tuple[str, float, float | None]]:
    """(key, what the search may still use, what one candidate uses of it) for every limit that is set, and for the plan."""
    remaining: list[tuple[str, float, float | None]] = []
    for limit in LIMITS:
        value = getattr(limits, limit.key)
        if value is None:
            continue
        match limit:
            case TimeLimit():
                remaining.append((limit.key, limit.seconds_left(limits, time), pace))
            case AmountLimit():
                spent = (limit.spent_by_settled or limit.spent)(spend)
                left = value * limit.share(limits) * limit.unit - spent
                remaining.append((limit.key, left, limit.per_candidate(spend)))
    if planned is not None:
        remaining.append((PLANNED, planned - spend.settled, 1.0))
    return remaining


def _pace(spend: Spend, slots: int, concurrency: int) -> float | None:
    """Wall seconds from one settled candidate to the next.

    Computed from the slower of breeding and evaluation until every slot has settled a few; then as observed, waiting
    included.
    """
    settled = len(spend.settled_at) - 1
    if settled >= 3 * max(slots, concurrency):
        return (spend.settled_at[-1] - spend.settled_at[0]) / settled
    if not (spend.candidate_seconds.known and spend.evaluation.known):
        return None
    evaluation = spend.variant_evaluation if spend.variant_evaluation.known else spend.evaluation
    return max(spend.candidate_seconds.value / concurrency, evaluation.value / slots)


_ENDINGS = {PLANNED: "when all are done", **{limit.key: limit.ending for limit in LIMITS}}


def forecast_facts(forecast: Forecast) -> dict[str, Any]:
    """The forecast as `--json` prints it: `ends` in ISO 8601 with the local offset from UTC."""
    ends = None if forecast.ends is None else datetime.fromtimestamp(forecast.ends).astimezone().isoformat(timespec="seconds")
    return {
        "seconds_per_variant": forecast.seconds_per_variant,
        "usd_per_variant": forecast.usd_per_variant,
        "gpu_seconds_per_variant": forecast.gpu_seconds_per_variant,
        "variants": forecast.variants,
        "limit": forecast.limit,
        "ends": ends,
    }


def forecast_text(forecast: Forecast) -> str:
    """The forecast in one line; empty while nothing is known."""
    pace = forecast.seconds_per_variant
    if pace is None:
        return ""
    usd = "dollars unknown" if forecast.usd_per_variant is None else f"{forecast.usd_per_variant:.4f} USD"
    each = f"{_short(pace)} and {usd} a variant"
    if forecast.variants is None:
        return f"{each}; no end in sight"
    ending = _ENDINGS[forecast.limit or PLANNED]
    at = f" by {datetime.fromtimestamp(forecast.ends):%a %H:%M}" if forecast.ends is not None else ""
    return f"{each}; {forecast.variants:,} more variants{at}, {ending}"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
