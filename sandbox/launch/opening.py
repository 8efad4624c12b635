"""Chooses the kind of sandbox that this system can run.

It does not lie in `sandbox.sandbox`, because both kinds import that interface: the imports would form a circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sandbox.isolation import linux
from sandbox.sandbox import Lane, Level

if TYPE_CHECKING:
    from sandbox.launch.start import ForkServer


def open_fork_server() -> ForkServer | None:
    """Start the process that slot servers are forked from; return None on systems that have no fork server."""
    if not linux.SUPPORTED:
        return None
    from sandbox.launch.start import ForkServer

    return ForkServer()


def open_sandbox(
    level: Level, layers: Mapping[str, bool], *, warm: bool = True, fork_server: ForkServer | None = None
) -> Lane:
    """Open a sandbox of a level. `warm`, `fork_server`: as for `ForkServerSandbox`, on systems that support it."""
    if linux.SUPPORTED:
        from sandbox.launch.client import ForkServerSandbox

        return ForkServerSandbox(level, layers, warm=warm, fork_server=fork_server)
    from sandbox.launch.subprocess_backend import SubprocessSandbox

    return SubprocessSandbox(level, layers)
