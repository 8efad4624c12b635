"""Which kind of sandbox this system has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from sandbox.isolation import linux
from sandbox.sandbox import Call, Level, Report, Turn, Watch

if TYPE_CHECKING:
    from sandbox.stem import Stem


class Slot(Protocol):
    """A `Sandbox` that can also get a call ready and wait for its turn."""

    level: Level

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report: ...

    def close(self) -> None: ...


def open_stem() -> Stem | None:
    """What warm processes are forked from, where there are any."""
    if not linux.SUPPORTED:
        return None
    from sandbox.stem import Stem

    return Stem()


def open_sandbox(level: Level, layers: Mapping[str, bool], *, warm: bool = True, stem: Stem | None = None) -> Slot:
    """`warm`, `stem`: as for a `WarmSandbox`, where there can be one."""
    if linux.SUPPORTED:
        from sandbox.warm import WarmSandbox

        return WarmSandbox(level, layers, warm=warm, stem=stem)
    from sandbox.fresh import FreshSandbox

    return FreshSandbox(level, layers)
