"""The ceilings of a run: hours, dollars, tokens, GPU hours, children. Asked before anything is spent; no I/O.

`RunLimits` is what the user allows, `Spend` what the run's events say of its costs, `Budget` compares the two:

    budget = Budget(limits, slots=..., concurrency=...)
    budget.recall(journal.costs())           # a resumed run: what earlier processes spent
    budget.see(event)                         # every event of this process, RunStarted first
    budget.admits_breeding()                  # before a child is drawn: a Refusal, or None for yes
    budget.admits_call(id)                    # before each model call of a child that was drawn
    budget.admits_evaluation(id)              # before its evaluation begins, and when it has its slot

What follows the search may use the reserve: it asks a budget whose limits have `reserve=0`.
"""

from agent.budget.budget import Budget, Clock, Refusal
from agent.budget.forecast import Forecast, forecast
from agent.budget.limits import RunLimits, check, next_time
from agent.budget.spend import Guess, Spend

__all__ = ["Budget", "Clock", "Forecast", "Guess", "Refusal", "RunLimits", "Spend", "check", "forecast", "next_time"]
