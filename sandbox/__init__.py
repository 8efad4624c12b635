"""Runs unreviewed code, isolated from the machine. Imports nothing from `agent`.

`sandbox.py` is the interface. `launch/` starts the processes, `isolation/` holds the layers that confine them, `inside/` is what
runs in them; `pool/` shares devices among several sandboxes, `data/` holds the data sets, `tasks/` measures candidates.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.sandbox import LEVELS, Call, CallLimits, Lane, Level, Report, Sandbox, SandboxUnavailable, TaskError, Turn, Watch

__all__ = [
    "LEVELS", "Call", "CallLimits", "Lane", "Level", "Report", "Sandbox", "SandboxUnavailable", "TaskError", "Turn", "Watch",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the interface on first use: the sandbox's own processes import this package, do not need it, and must start fast."""
    if name not in __all__:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    return getattr(import_module("sandbox.sandbox"), name)
