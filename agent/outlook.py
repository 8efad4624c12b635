"""How far a run will get, as facts and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from agent.budget import Budget, Forecast, Limits

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


def from_journal(
    rows: Iterable[tuple[float, str, str, Mapping[str, Any]]], config: Mapping[str, Any], planned: int, now: float
) -> Forecast:
    """Of a run that another process works on: from its journal's rows and its configuration. `now`: since the epoch."""
    rows = list(rows)
    slots, concurrency = config.get("sandbox", {}).get("slots", 1), config.get("llm", {}).get("concurrency", 1)
    budget = Budget(Limits(**config.get("limits", {})), slots=slots, concurrency=concurrency)
    budget.recall(rows)
    if rows:
        budget.spend.seconds += max(0.0, now - rows[-1][0])
    return budget.forecast(planned)


def facts(forecast: Forecast) -> Facts:
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


def words(forecast: Forecast) -> str:
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
