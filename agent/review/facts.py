"""The facts of a run as plain JSON values, and the words for a change against the seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = dict[str, Any]
"""What `--json` prints; docs/json.md lists the keys."""


def seed_value(status: Mapping[str, Any], objective: str) -> float:
    """The value from which changes are counted: the seed's mean over training seeds if it varies, else its one value.

    `status`: what `agent.review.status.status` returns, here and below.
    """
    noise = status["noise"]
    varies = noise and noise["sigma"].get(objective)
    value: float = noise["mean"][objective] if varies else status["seed"]["fitness"][objective]
    return value


def format_distance(status: Mapping[str, Any], objective: str, value: float) -> str:
    """How far a value is from the seed's: `(+9.1 sigma)`, `(-12.1%)`, `(same)`."""
    change = value - seed_value(status, objective)
    return _in_units(status, objective, change) if change else "(same)"


def format_change(status: Mapping[str, Any], objective: str, change: float) -> str:
    """A change with its size in units of the noise or of the seed: `+0.065 (+4.2 sigma)`, `-3,952 (-76.3%)`, `same`."""
    if not change:
        return "same"
    plain = f"{change:+,.0f}" if float(change).is_integer() else f"{change:+.2g}"
    return f"{plain} {_in_units(status, objective, change)}"


def format_changes(status: Mapping[str, Any], changes: Mapping[str, float]) -> str:
    """The same for a change of each objective: `accuracy +0.065 (+4.2 sigma), parameters same`."""
    return ", ".join(f"{objective} {format_change(status, objective, change)}" for objective, change in changes.items())


def _in_units(status: Mapping[str, Any], objective: str, change: float) -> str:
    """In sigmas of the noise; without noise as a share of the seed's value."""
    sigma = (status["noise"] or {"sigma": {}})["sigma"].get(objective)
    if sigma:
        return f"({change / sigma:+.1f} sigma)"
    seed = seed_value(status, objective)
    return f"({change / abs(seed):+.1%})" if seed else f"({change:+.4g})"


def format_price(spend: Mapping[str, Any], decimals: int) -> str:
    """The dollars of `status["spend"]`, and how many calls had no known price."""
    unpriced = spend["calls_without_a_known_price"]
    usd = f"{spend['usd']:.{decimals}f} USD"
    if not unpriced:
        return usd
    if unpriced == spend["llm_calls"]:
        return "price unknown"
    return f"{usd} and {unpriced} call{'s' if unpriced > 1 else ''} of unknown price"
