"""Used while a wheel is built, see `pyproject.toml`: put the file that starts `evolve` at the top of the package.

A table in `pyproject.toml` cannot do this: its files go into an editable installation too, as copies, and the copy would be
imported instead of the clone's file.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelHook(BuildHookInterface[Any]):
    """`version`: `standard`, or `editable` for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"]["agent/cli/start/guided_evolution.py"] = "guided_evolution/__init__.py"
