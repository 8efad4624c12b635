"""What a run's progress has cost: tokens and dollars for each trained variant, and for each unit of worth gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.journal.store import Journal
from agent.review.facts import Facts

_NO_GAIN = 1e-6
"""Worth below which a difference is rounding."""
ESTIMATED = "~: at least a part of the tokens was not counted by a provider, but estimated as characters / 4"


def cost_facts(journal: Journal, trained: int, gained: float) -> Facts:
    """Of all answered calls, also of those whose candidate failed.

    `trained`: trained variants; `gained`: worth beyond the seed's. What cannot be divided, or has no known price, is None.
    """
    totals = journal.llm_totals()
    tokens = totals.tokens_in + totals.tokens_out
    usd = None if totals.unpriced_calls else totals.usd
    return {
        "tokens": tokens,
        "tokens_cached": totals.tokens_cached,
        "tokens_estimated": totals.estimated_calls > 0,
        "usd": usd,
        "tokens_per_trained": _each(tokens, trained),
        "usd_per_trained": _each(usd, trained),
        "tokens_per_worth": _each(tokens, gained),
        "usd_per_worth": _each(usd, gained),
    }


def _each(amount: float | None, count: float) -> float | None:
    return amount / count if amount is not None and count > _NO_GAIN else None


def tokens_text(cost: Mapping[str, Any], key: str = "tokens") -> str:
    """A number of tokens of `cost_facts`: `~3,400` if a part of it is estimated, `-` for none."""
    value = cost[key]
    mark = "~" if cost["tokens_estimated"] else ""
    return "-" if value is None else f"{mark}{value:,.0f}"


def usd_text(cost: Mapping[str, Any], key: str = "usd") -> str:
    """An amount of dollars of `cost_facts`: `0.0123`, `-` for none, `unknown` where calls had no known price."""
    value = cost[key]
    mark = "~" if cost["tokens_estimated"] and value else ""  # an estimate times a price is an estimate
    return "unknown" if cost["usd"] is None else "-" if value is None else f"{mark}{value:.4f}"


def cost_lines(cost: Mapping[str, Any]) -> list[str]:
    """The same as sentences without a full stop; none where no model was asked."""
    if not cost["tokens"]:
        return []
    cached = f", {cost['tokens_cached']:,} of them from the providers' caches" if cost["tokens_cached"] else ""
    lines = [f"{tokens_text(cost)} tokens{cached}"]
    for key, what in (("trained", "trained variant"), ("worth", "unit of worth gained")):
        if cost[f"tokens_per_{key}"] is not None:
            usd = usd_text(cost, f"usd_per_{key}")
            price = "a price that is not known" if usd == "unknown" else f"{usd} USD"
            lines.append(f"{tokens_text(cost, f'tokens_per_{key}')} tokens and {price} for each {what}")
    return [*lines, ESTIMATED] if cost["tokens_estimated"] else lines
