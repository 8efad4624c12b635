"""A measured value against the seed's, as people read it: in sigma of the noise, or in percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
"""What `summary.status` gives."""


def usual_of(facts: Facts, name: str) -> float:
    """What the seed measures: its mean over training seeds where it varies."""
    noise = facts["noise"]
    value: float = noise["mean"][name] if noise and noise["sigma"].get(name) else facts["seed"]["fitness"][name]
    return value


def change_text(facts: Facts, name: str, value: float) -> str:
    """Against the seed: `(+9.1 sigma)`, `(-12.1%)`, `(same)`."""
    change = value - usual_of(facts, name)
    return _in_units(facts, name, change) if change else "(same)"


def effect_text(facts: Facts, name: str, change: float) -> str:
    """Of a change: `+0.065 (+4.2 sigma)`, `-3,952 (-76.3%)`, `same`."""
    if not change:
        return "same"
    told = f"{change:+,.0f}" if float(change).is_integer() else f"{change:+.2g}"
    return f"{told} {_in_units(facts, name, change)}"


def _in_units(facts: Facts, name: str, change: float) -> str:
    """`(+2.1 sigma)`; without noise a share of the seed's value."""
    sigma = (facts["noise"] or {"sigma": {}})["sigma"].get(name)
    if sigma:
        return f"({change / sigma:+.1f} sigma)"
    usual = usual_of(facts, name)
    return f"({change / abs(usual):+.1%})" if usual else f"({change:+.4g})"
