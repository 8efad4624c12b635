"""Change the number of one module-level constant, if its name says that it is a setting of the model or its training."""

from __future__ import annotations

import ast
import random
import re

from agent.genome.analysis import is_plain_assignment, parse
from agent.genome.rewrites.change import Change

_SETTING = re.compile(
    r"(?:^|_)(?:lr|rate|decay|dropout|drop|momentum|beta\d?|width|hidden|dim|channels|layers|depth|embd|clip|smoothing|alpha|gamma)"
    r"(?:_|\d|$)",
    re.IGNORECASE,
)
"""Names of settings. Counts of classes, of steps, seeds and paths are none: they say what is measured, not how well."""
_DATA = re.compile(
    r"(?:^|_)(?:in|input|out|output|img|image|data|vocab|class(?:es)?|features?|test|val|mean|std|depth)(?:_|s?$)", re.IGNORECASE
)
"""Names of what the data or another part of the program fixes, though they look like settings."""
_FACTORS = (0.3, 0.5, 2.0, 3.0)
_SIZES = (0.5, 2.0)
"""Sizes keep what divides them."""


def is_setting(name: str) -> bool:
    """Whether a name says that its number may change: no size of the data, no share of a split, no part of a measurement."""
    return bool(_SETTING.search(name) or name in ("p", "eps", "temperature", "tau", "weight_decay")) and not _DATA.search(name)


def retune(source: str, rng: random.Random) -> Change | None:
    """Scale one setting; None if no constant's name is one. `source`: assignments alone."""
    found = [(name, value) for node in parse(source).body for name, value in _settings(node)]
    for name, value in rng.sample(found, len(found)):
        old = value.value
        assert isinstance(old, int | float)
        factor = rng.choice(_SIZES if isinstance(old, int) else _FACTORS)
        if isinstance(old, int) and (old < 8 or old % 4) and not re.search("layers", name, re.IGNORECASE):
            continue  # a number of colours, or what another number has to fit
        new = max(1, round(old * factor)) if isinstance(old, int) else float(f"{old * factor:.3g}")
        new = min(new, 0.9) if isinstance(old, float) and 0 < old < 1 else new
        if new != old and value.end_col_offset is not None:
            lines = source.encode().split(b"\n")
            line = lines[value.lineno - 1]
            lines[value.lineno - 1] = line[: value.col_offset] + repr(new).encode() + line[value.end_col_offset :]
            return Change(b"\n".join(lines).decode(), "", f"set {name} to {new!r} in place of {old!r}")
    return None


def _settings(node: ast.stmt) -> list[tuple[str, ast.Constant]]:
    """The name and the number of an assignment to one name, if it is a setting."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not is_plain_assignment(node):
        return []
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    value = node.value
    is_number = isinstance(value, ast.Constant) and type(value.value) in (int, float) and value.value
    if isinstance(target, ast.Name) and is_number and is_setting(target.id):
        assert isinstance(value, ast.Constant)
        return [(target.id, value)]
    return []
