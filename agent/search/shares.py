"""The shares of operators before anything is known of a run, for each kind of model.

Measured with a model that reads, over searches of 24 to 40 children of a small convolutional network (docs/results.md): rewrites
of the whole program brought +8 sigma on average where mutations of one block brought +1, and of the splices and matings none
entered the front. So `mutate`, `mate` and `splice` have no share. A rewrite changes what a program is worth alone by -0.7 with a
standard deviation of 1.8, an Evolution of Thought by -0.6 and 0.65: the best of many counts, and it hardly ever is one of these.

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
