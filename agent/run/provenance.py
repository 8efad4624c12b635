"""What the results of a run depend on besides its configuration: code, prompts, seed, versions. A resume compares it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from agent.core.errors import UserError
from agent.core.paths import ROOT
from agent.journal.events import RunStarted

_CODE = ("agent", "sandbox")
_MEASURING = ("torch", "numpy", "safetensors")
"""Packages that the measurements of a run depend on."""
_UNSET = "(not set)"
_SHOWN = 12
"""The most changes that an error message lists."""


def provenance(seed_folder: Path, files: Iterable[str], prompts: Path) -> dict[str, str]:
    """A short digest of each file of seed, prompts and code, by its path, and the versions of packages and Python."""
    found = {f"seed/{file}": _digest(seed_folder / file) for file in files}
    found |= {
        f"prompts/{path.relative_to(prompts).as_posix()}": _digest(path)
        for path in sorted(prompts.rglob("*.md"))
        if path.name != "README.md"  # for people
    }
    found |= {
        path.relative_to(ROOT).as_posix(): _digest(path) for package in _CODE for path in sorted((ROOT / package).rglob("*.py"))
    }
    versions = {name: _version(name) for name in ("guided-evolution", *_MEASURING)}
    return found | {f"version of {name}": version for name, version in {**versions, "python": platform.python_version()}.items()}


def accepted_changes(before: Mapping[str, Any], now: RunStarted, named: Mapping[str, Any], accept: bool) -> tuple[str, ...]:
    """The changes since the last start, one line each. `before`: the journal's record of that start.

    Raises UserError if anything but the settings `named` on the command line has changed, unless the user accepts it.
    """
    settings = changed_settings(before["config"], now.config)
    rest = changed_digests(before.get("basis", {}), now.provenance)
    unnamed = [line for key, line in settings.items() if key not in dotted_keys(named)] + rest
    if unnamed and not accept:
        shown = "\n".join(f"  {line}" for line in unnamed[:_SHOWN])
        more = f"\n  and {len(unnamed) - _SHOWN} more" if len(unnamed) > _SHOWN else ""
        raise UserError(
            f"This has changed since the last start of the run:\n{shown}{more}\n"
            "Results before and after would not be comparable. Undo the changes, or go on anyway with --accept-changes."
        )
    return (*settings.values(), *rest)


def changed_digests(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One line for each digest or version that changed; empty if the last start recorded none."""
    if not before:
        return []
    lines = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old != new and name.startswith("version of "):
            lines.append(f"{name}: {old} -> {new}")
        elif old != new:
            lines.append(f"{name} {'is new' if old is None else 'is gone' if new is None else 'changed'}")
    return lines


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys whose values differ, each with `key: old -> new`."""
    old, new = _flat(before), _flat(now)
    return {
        key: f"{key}: {old.get(key, _UNSET)} -> {new.get(key, _UNSET)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    }


def dotted_keys(table: Mapping[str, Any]) -> set[str]:
    """The keys of a nested table, such as `limits.hours`."""
    return set(_flat(table))


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by dotted key, without None, which means the same as a missing key."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # run from a clone that was not installed
        return "unknown"
