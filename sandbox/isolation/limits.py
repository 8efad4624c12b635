"""Resource limits (setrlimit(2)): the kernel's own backstop behind the supervisor."""

from __future__ import annotations

import resource

_FILES = 256
_LOCKED = 8 << 20
_SIGNALS = 4096
"""Signals that wait, and timers: memory of the kernel. Those of all processes of the user count."""


def apply(data: int | None, file_size: int, cpu_seconds: int) -> None:
    """Limit this process. `data`: bytes of private memory; None: no limit (CUDA reserves far more address space than it uses)."""
    limits = {"CORE": 0, "FSIZE": file_size, "NOFILE": _FILES, "MEMLOCK": _LOCKED, "MSGQUEUE": 0, "SIGPENDING": _SIGNALS}
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}", None)  # macOS lacks some
        if which is not None:
            resource.setrlimit(which, (value, value))
    if data is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 2))
