"""Finds metrics in the output of a script: `name: value` or `name=value`, anywhere in a line. The last of each name counts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sandbox.tasks.common.job import StageFailed

_NUMBER = r"(?i:[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?))"


def read(log: str, names: Sequence[str]) -> dict[str, float]:
    """Return one finite value for each name. Raises StageFailed that names what is missing. `log` is hostile text."""
    found = {}
    for name in names:
        # One pass over the text for each name, without nested repetition: a hostile log costs no more than its length.
        values = re.findall(rf"(?<![\w.]){re.escape(name)}\s*[:=]\s*({_NUMBER})(?!\w)", log)
        if not values:
            raise StageFailed("score", _missing(log, name), log)
        value = float(values[-1].replace(",", ""))
        if not math.isfinite(value):
            reason = f"The last value that it printed for {name} is {values[-1]}, which is no finite number."
            raise StageFailed("score", reason, log)
        found[name] = value
    return found


def _missing(log: str, name: str) -> str:
    near = [line.strip() for line in log.splitlines() if name in line]
    form = f"a line such as `{name}: 0.123` is expected, and the last one counts"
    if near:
        return f"It printed no number for the metric {name}: {form}; the nearest line is `{near[-1][:120]}`."
    return f"It printed no metric {name}: {form}."
