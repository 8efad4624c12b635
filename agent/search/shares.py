"""The shares of operators before anything is known of a run, for each kind of model.

Measured with one model that reads, over five searches of 24 to 40 children of a small convolutional network: rewrites of the
whole program brought +8 sigma on average where mutations of one block brought +1, and of the splices and matings none entered
the front. Simulated on a landscape fitted to these children (`tests/benchmarks/policy.py`), rewriting and Evolution of Thought
alone are ahead of a mix with them by 0.2 of the worth after 24 and 40 children. So `mate` and `splice` have no share.

The rules of `offline` know one block at a time and cannot rewrite a program in an idea's name; their shares are those with
which docs/results.md was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.operators import OPERATORS

RULES: Mapping[str, float] = MappingProxyType({"mutate": 0.3, "rewrite": 0.25, "eot": 0.2, "mate": 0.15, "splice": 0.1})
"""For the model `offline` alone."""


def default_shares(*, reads: bool) -> dict[str, float]:
    """The share of each operator. `reads`: whether some model reads its prompt."""
    if reads:
        return {name: operator.share for name, operator in OPERATORS.items() if operator.share}
    return {name: share for name, share in RULES.items() if name in OPERATORS}
