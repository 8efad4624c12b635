"""Prices of tokens: from the configuration, else from litellm's bundled table, which is read as a file and never fetched."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from agent.llm.base import Usage

_TABLE = "model_prices_and_context_window_backup.json"


class Price(NamedTuple):
    """US dollars for each token."""

    tokens_in: float
    tokens_out: float
    tokens_cached: float
    """Of a prompt, from the provider's cache."""


def price(model: str, overrides: Mapping[str, tuple[float, ...]]) -> Price | None:
    """Return the price of a model; None if it is unknown.

    `overrides`: US dollars per million tokens, (in, out) or (in, out, in from the cache). Where no price of cached tokens is
    known, they cost as much as the others.
    """
    if model in overrides:
        into, out, *cached = overrides[model]
        return Price(into / 1e6, out / 1e6, (cached[0] if cached else into) / 1e6)
    table = _bundled_table()
    entry = table.get(model) or table.get(model.removeprefix("openai/"))
    if entry is None or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    into, cached = float(entry["input_cost_per_token"]), entry.get("cache_read_input_token_cost")
    return Price(into, float(entry["output_cost_per_token"]), into if cached is None else float(cached))


def cost(usage: Usage, price: Price | None) -> float | None:
    """Return the cost in US dollars, None if the price is unknown."""
    if price is None:
        return None
    fresh = usage.tokens_in - usage.tokens_cached
    return fresh * price.tokens_in + usage.tokens_cached * price.tokens_cached + usage.tokens_out * price.tokens_out


@cache
def _bundled_table() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("litellm")  # finds the package without importing it, which would take seconds
    if spec is None or spec.origin is None:
        return {}
    table = Path(spec.origin).with_name(_TABLE)
    return dict(json.loads(table.read_text(encoding="utf-8"))) if table.is_file() else {}
