"""Runs code that nobody has read. Imports nothing from `agent`."""

from sandbox.sandbox import Call, Limits, Report, Sandbox, SandboxUnavailable, TaskError

__all__ = ["Call", "Limits", "Report", "Sandbox", "SandboxUnavailable", "TaskError"]
