"""In which range a measured value can be used. A script may print any number, and 1e308 overflows whatever is computed of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

LARGEST, SMALLEST = 1e30, 1e-60
"""Sizes of any value, the seed's too: squares and products of such numbers, and their shares of each other, are finite."""
FACTOR = 1e9
"""A candidate's value is at most so many times the seed's, which counts as at least 1: any real change lies within this. It may
be as small as any: an exact solution has an error of 1e-32."""

_NONE: Mapping[str, float] = MappingProxyType({})


def out_of_range(values: Mapping[str, float], seed: Mapping[str, float] = _NONE) -> str:
    """Which value cannot be used, and why, as a sentence; empty if all can. 0 is always in range.

    `seed`: what the seed measured, by name; values of other names are compared with `LARGEST` and `SMALLEST` only.
    """
    for name, value in values.items():
        high, of_seed = LARGEST, ""
        if name in seed:
            high = min(high, max(abs(seed[name]), 1.0) * FACTOR)
            of_seed = f", where the seed has {seed[name]:g}"
        if not math.isfinite(value):
            return f"{name} is {value:g}, which is no finite number."
        if value and not SMALLEST <= abs(value) <= high:
            return f"{name} is {value:g}{of_seed}: what can be used is 0 or has a size from {SMALLEST:.0e} to {high:.0e}."
    return ""
