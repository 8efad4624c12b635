"""Runs code that nobody has read. Imports nothing from `agent`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.sandbox import LEVELS, Call, Level, Limits, Report, Sandbox, SandboxUnavailable, TaskError, Turn, Watch

__all__ = ["LEVELS", "Call", "Level", "Limits", "Report", "Sandbox", "SandboxUnavailable", "TaskError", "Turn", "Watch"]


def __getattr__(name: str) -> object:
    """Late: the processes of a sandbox import this package too, need none of it, and have to start fast."""
    if name not in __all__:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    return getattr(import_module("sandbox.sandbox"), name)
