"""Runs code that nobody has read. Imports nothing from `agent`."""

from sandbox.sandbox import LEVELS, Call, Level, Limits, Report, Sandbox, SandboxUnavailable, TaskError, Turn, Watch

__all__ = ["LEVELS", "Call", "Level", "Limits", "Report", "Sandbox", "SandboxUnavailable", "TaskError", "Turn", "Watch"]
