"""Chooses the kind of sandbox that this system can run.

It lies here and not in `sandbox.sandbox`: both kinds import that interface, which would close a circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sandbox.isolation import linux
from sandbox.sandbox import Lane, Level

if TYPE_CHECKING:
    from sandbox.launch.start import ForkServer


def open_fork_server() -> ForkServer | None:
    """The process that warm processes are forked from; None on systems where there are none."""
    if not linux.SUPPORTED:
        return None
    from sandbox.launch.start import ForkServer

    return ForkServer()


def open_sandbox(
    level: Level, layers: Mapping[str, bool], *, warm: bool = True, fork_server: ForkServer | None = None
) -> Lane:
    """A sandbox of a level. `warm`, `fork_server`: as for `ForkServerSandbox`, on systems that support it."""
    if linux.SUPPORTED:
        from sandbox.launch.client import ForkServerSandbox

        return ForkServerSandbox(level, layers, warm=warm, fork_server=fork_server)
    from sandbox.launch.subprocess_backend import SubprocessSandbox

    return SubprocessSandbox(level, layers)
