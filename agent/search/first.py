"""The first population: how many children of the seed a budget allows, and how they are made.

Children of the seed are cheap while nothing better is known and a waste afterwards, so their number follows from what the
limits allow. A model that reads gets the whole program each time, with another directive; rules change one block each.
"""

from __future__ import annotations

import math

MOST, SHARE, LEAST = 8, 0.15, 4
"""With a model that reads: this share of the children, at most 8; of few children `LEAST`, but no more than a third.

A strong model's first answers differ more than what it makes of any one of them: of 22 recorded answers about the same seed the
worth of the program alone was 5.9 on average with a standard deviation of 1.7, and a child's differs from its parent's by -0.5
and 1.7. So the best of four is a better start than the first one, and nothing is gained by more."""
MOST_RULES, SHARE_RULES = 32, 0.5
"""With rules alone: they change one block at a time, and each block needs its turn."""
TOO_MUCH = 1 / 3
"""A larger share of a run's children is worth a warning."""


def first_size(children: int, *, reads: bool) -> int:
    """Candidates of the first population of a run with so many children in all."""
    if not reads:
        return max(1, min(MOST_RULES, math.floor(children * SHARE_RULES + 0.5)))
    return max(1, min(MOST, max(math.floor(children * SHARE + 0.5), min(LEAST, children // 3))))


def first_warning(first: int, children: int | None, operator: str, *, reads: bool) -> str:
    """One sentence if the first population would eat the budget; empty if not, or if the budget is unknown (None)."""
    advised = first_size(children, reads=reads) if children else first
    if not children or first <= TOO_MUCH * children or first <= advised:
        return ""
    made = "rewrites" if operator == "rewrite" else "mutations"
    return (
        f"{min(first, children)} of {children} children would be {made} of the seed, however good the others become: "
        f'search.first_population={first} is set, and "auto" would make {advised}.'
    )
