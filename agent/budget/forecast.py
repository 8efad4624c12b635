"""How far a run will get, from what was measured so far: as numbers, as facts and in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from agent.budget.limits import HOUR, RunLimits, seconds_left
from agent.budget.spend import Mean, Spend


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
    limits: RunLimits,
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
    # Children without any call cost nothing, and say nothing of calls whose price nobody knows.
    usd = None if s.unpriced_calls and not s.usd else _known(s.variant_usd, s.child_usd)
    tokens = _known(s.variant_tokens, s.child_tokens)
    gpu = _known(s.variant_gpu, s.gpu)
    rooms: list[tuple[str, float, float | None]] = [  # what is left, and what one child takes of it
        *((limit, left, pace) for limit, left in seconds_left(limits, s.started, s.seconds, now, zone).items()),
        *([("usd", limits.usd * share - s.usd, usd)] if limits.usd else []),
        *([("tokens", limits.tokens - s.tokens_in - s.tokens_out, tokens)] if limits.tokens else []),
        *([("gpu_hours", limits.gpu_hours * share * HOUR - s.gpu_seconds, gpu)] if limits.gpu_hours else []),
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


def _known(*means: Mean) -> float | None:
    """The first that anything is known of: of a settled child, or of one that has its code only."""
    return next((mean.value for mean in means if mean.known), None)


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


Facts = dict[str, Any]

_ENDS = {
    "planned": "when all are done",
    "variants": "when as many as were allowed are done",
    "hours": "when the hours are used up",
    "until": "when the time is up",
    "usd": "when the dollars are used up",
    "tokens": "when the tokens are used up",
    "gpu_hours": "when the GPU hours are used up",
}
"""By the limit that ends the search."""


def forecast_facts(forecast: Forecast) -> Facts:
    """For `--json`; `ends` as ISO 8601 with the local offset from UTC."""
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
    """One line; empty while nothing can be said."""
    pace = forecast.seconds_per_variant
    if pace is None:
        return ""
    usd = "dollars unknown" if forecast.usd_per_variant is None else f"{forecast.usd_per_variant:.4f} USD"
    each = f"{_short(pace)} and {usd} a variant"
    if forecast.variants is None:
        return f"{each}; no end in sight"
    end = _ENDS[forecast.limit or "planned"]
    at = f" by {datetime.fromtimestamp(forecast.ends):%a %H:%M}" if forecast.ends is not None else ""
    return f"{each}; {forecast.variants:,} more variants{at}, {end}"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
