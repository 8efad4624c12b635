"""Prices of tokens: from the configuration, else from litellm's bundled table, which is read as a file and never fetched."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from agent.llm.base import Usage

_TABLE = "model_prices_and_context_window_backup.json"


def price(model: str, overrides: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    """Return the price in US dollars per token (in, out), None if it is unknown. `overrides` are per million tokens."""
    if model in overrides:
        return overrides[model][0] / 1e6, overrides[model][1] / 1e6
    table = _bundled_table()
    entry = table.get(model) or table.get(model.removeprefix("openai/"))
    if entry is None or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    return float(entry["input_cost_per_token"]), float(entry["output_cost_per_token"])


def cost(usage: Usage, price: tuple[float, float] | None) -> float | None:
    """Return the cost in US dollars, None if the price (US dollars per token in, out) is unknown."""
    return None if price is None else usage.tokens_in * price[0] + usage.tokens_out * price[1]


@cache
def _bundled_table() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("litellm")  # finds the package without importing it, which would take seconds
    if spec is None or spec.origin is None:
        return {}
    table = Path(spec.origin).with_name(_TABLE)
    return dict(json.loads(table.read_text(encoding="utf-8"))) if table.is_file() else {}
