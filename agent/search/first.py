"""The first population: how many children of the seed a budget allows, and how they are made.

Children of the seed are cheap while nothing better is known and a waste afterwards, so their number follows from what the
limits allow. A model that reads gets the whole program each time, with another directive; rules change one block each.
"""

from __future__ import annotations

import math

MOST, SHARE = 8, 0.05
"""With a model that reads: a twentieth of the children, at most 8. Simulated (`tests/benchmarks/policy.py`), a tenth of 40
children costs 0.4 of the worth after 5 and 0.25 after 10, and gains nothing later."""
MOST_RULES, SHARE_RULES = 32, 0.5
"""With rules alone: they change one block at a time, and each block needs its turn."""
TOO_MUCH = 1 / 3
"""A larger share of a run's children is worth a warning."""


def first_size(children: int, *, reads: bool) -> int:
    """Candidates of the first population of a run with so many children in all."""
    most, share = (MOST, SHARE) if reads else (MOST_RULES, SHARE_RULES)
    return max(1, min(most, math.floor(children * share + 0.5)))


def first_warning(first: int, children: int | None, operator: str, *, reads: bool) -> str:
    """One sentence if the first population would eat the budget; empty if not, or if the budget is unknown (None)."""
    advised = first_size(children, reads=reads) if children else first
    if not children or first <= TOO_MUCH * children or first <= advised:
        return ""
    made = "rewrites" if operator == "rewrite" else "mutations"
    return (
        f"{min(first, children)} of {children} children would be {made} of the seed, however good the others become: "
        f"search.first_population={first} is set, and \"auto\" would make {advised}."
    )
