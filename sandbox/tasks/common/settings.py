"""Helpers that parse the tables `[task]` and `[budget]`. Every mistake is a TaskError: one sentence with the key and a remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from sandbox.sandbox import TaskError

UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
SIZES = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}


def refuse_unknown(name: str, table: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise TaskError if the table has a key that is not `known`."""
    if unknown := sorted(table.keys() - set(known)):
        near = get_close_matches(unknown[0], known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise TaskError(f"{name}: unknown key {unknown[0]}; {meant}known: {', '.join(sorted(known))}.")


def quantity(table: Mapping[str, Any], key: str, default: str, units: Mapping[str, float], name: str = "budget") -> float:
    """Parse a number with a unit, such as `120s`; return it in the unit whose factor is 1. Raises TaskError."""
    text = str(table.get(key, default))
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]+)\s*", text)
    try:
        if match and match[2] in units and (value := float(match[1]) * units[match[2]]) > 0:
            return value
    except ValueError:
        pass
    raise TaskError(f'{name}.{key} = "{text}" must be a number with a unit ({", ".join(units)}), such as "{default}".')
