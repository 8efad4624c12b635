"""The limits of a run: hours, dollars, tokens, GPU hours, candidates. Asked before anything is spent; no I/O.

`RunLimits` is what the user allows, `Spend` what the run has cost according to its events; `Budget` compares the two:

    budget = Budget(limits, slots=..., concurrency=..., tracker=tracker)
    budget.recall(journal.cost_rows())        # a resumed run: what earlier processes spent
    budget.see(event)                         # every event of this process, RunStarted first
    budget.admits_breeding()                  # before a candidate is proposed: a Refusal, or None for yes
    budget.admits_call(id)                    # before each model call of a proposed candidate
    budget.admits_evaluation(id)              # before its evaluation begins, and when it has its slot

What follows the search may use the reserve, once `budget.open_reserve()` was called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.budget.budget import Budget as Budget
    from agent.budget.budget import Refusal as Refusal
    from agent.budget.clock import Clock as Clock
    from agent.budget.forecast import Forecast as Forecast
    from agent.budget.limits import RunLimits as RunLimits
    from agent.budget.limits import check_prices as check_prices
    from agent.budget.spend import Guess as Guess
    from agent.budget.spend import Spend as Spend

_MODULES = {
    "Budget": "budget",
    "Refusal": "budget",
    "Clock": "clock",
    "Forecast": "forecast",
    "RunLimits": "limits",
    "check_prices": "limits",
    "Guess": "spend",
    "Spend": "spend",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use: `evolve --help` needs only the table of limits."""
    if name in _MODULES:
        return getattr(import_module(f"agent.budget.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
