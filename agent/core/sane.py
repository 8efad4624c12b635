"""In which range a measured value can be used. A script may print any number, and 1e308 overflows whatever is computed of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

LARGEST, SMALLEST = 1e30, 1e-30
"""Sizes of any value, the seed's too: squares and products of such numbers, and their shares of each other, are finite."""
FACTOR = 1e9
"""A candidate's value is at most so many times the seed's, and at least one part in so many of it; a seed's value counts as at
least 1 for the former, as at most 1 for the latter. Within this any real change lies, also that from a loss of a random net."""

_NONE: Mapping[str, float] = MappingProxyType({})


def out_of_range(values: Mapping[str, float], seed: Mapping[str, float] = _NONE) -> str:
    """Which value cannot be used, and why, as a sentence; empty if all can. 0 is always in range.

    `seed`: what the seed measured, by name; values of other names are compared with `LARGEST` and `SMALLEST` only.
    """
    for name, value in values.items():
        low, high, of_seed = SMALLEST, LARGEST, ""
        if name in seed:
            size = abs(seed[name]) or 1.0
            low, high = max(low, min(size, 1.0) / FACTOR), min(high, max(size, 1.0) * FACTOR)
            of_seed = f", where the seed has {seed[name]:g}"
        if not math.isfinite(value):
            return f"{name} is {value:g}, which is no finite number."
        if value and not low <= abs(value) <= high:
            return f"{name} is {value:g}{of_seed}: what can be used is 0 or has a size from {low:.0e} to {high:.0e}."
    return ""
