"""What a token costs: the configuration's word, else litellm's bundled table, read as a file and never fetched."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_TABLE = "model_prices_and_context_window_backup.json"


def price(model: str, overrides: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    """US dollars of one token (in, out); None if nobody knows. `overrides` are per million tokens."""
    if model in overrides:
        return overrides[model][0] / 1e6, overrides[model][1] / 1e6
    known = _bundled()
    entry = known.get(model) or known.get(model.removeprefix("openai/"))
    if entry is None or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    return float(entry["input_cost_per_token"]), float(entry["output_cost_per_token"])


@cache
def _bundled() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("litellm")  # finds the package without importing it
    if spec is None or spec.origin is None:
        return {}
    table = Path(spec.origin).with_name(_TABLE)
    return dict(json.loads(table.read_text(encoding="utf-8"))) if table.is_file() else {}
