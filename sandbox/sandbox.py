"""The interface of every sandbox: one call runs one trusted function beside one candidate's code in one child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Level = Literal["full", "contained", "reduced", "none"]

LEVELS: tuple[Level, ...] = ("full", "contained", "reduced", "none")
"""Best first."""

Cause = Literal["exit", "signal", "timeout", "memory", "disk", "processes", "result", "stopped", "device"]
"""Why the child ended, as the trusted side saw it: by itself (`exit`, `signal`), at a limit, `stopped` by a `Watch`, or
because its `device`, a GPU, had no memory left or failed."""

Turn = AbstractContextManager[object]
"""Something that a call waits for, holds while the candidate's code runs, and gives back."""

Watch = Callable[[str], bool]
"""Is handed a line of a call's output; False ends the call. See `Sandbox.run`."""


class SandboxUnavailable(Exception):
    """The machine's fault: the sandbox could not run the call at all. Never the candidate's."""


class TaskError(Exception):
    """The user's mistake in what a task is asked for: one sentence, said before anything is spent."""


@dataclass(frozen=True)
class Limits:
    """What one call may use. Bytes and seconds."""

    seconds: float
    memory: int
    """Private and shared memory of all the call's processes together."""
    result: int
    """Size of the result."""
    scratch: int = 256 << 20
    """What may be written to the scratch folder."""
    log: int = 64 << 10
    """How much of stdout and stderr is kept (head and tail); all of it is drained."""


@dataclass(frozen=True)
class Call:
    """One child process: the trusted function `entry` runs with the candidate's sources and read-only inputs."""

    entry: str
    """`package.module:function`; the function takes a `sandbox.child.Child` and returns the result's bytes."""
    sources: Mapping[str, str]
    """The candidate's files: relative path -> text. They become importable, `model.py` as `model`."""
    limits: Limits
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Files that the child may read, by name: opened by the trusted side, handed over as descriptors."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Small JSON values from the trusted side."""
    device: str = "cpu"
    """`cpu` or `cuda:N`, the GPU with the device node /dev/nvidiaN. In lanes, the slot decides."""
    threads: int = 1
    slot: bool = False
    """This call trains: among several sandboxes it holds a slot for itself. See `lanes`."""
    readable: tuple[Path, ...] = ()
    """Real paths of files and folders that the child may read where they are, beside what every child may."""


@dataclass(frozen=True)
class Report:
    """What the trusted side measured of one call. Only `result` and `log` hold anything the candidate could write."""

    cause: Cause
    status: int
    """Exit code, or minus the signal's number."""
    seconds: float
    cpu_seconds: float
    peak_memory: int
    result: bytes = b""
    """Empty unless the entry function returned normally."""
    log: str = ""
    """Head and tail of stdout and stderr, control characters removed. Hostile text."""
    layers: tuple[str, ...] = ()
    """The isolation layers that were in force when candidate code started."""

    @property
    def ok(self) -> bool:
        return self.cause == "exit" and self.status == 0


class Sandbox(Protocol):
    """One slot: runs one call at a time, from any thread. Several slots are several sandboxes."""

    level: Level

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Raises SandboxUnavailable. No process of the call is left when it returns or raises.

        While the call runs, `watch` gets each complete line of its output, in this thread: hostile text, cleaned of control
        characters, at most 500 characters of it. Of more lines than it has time for, some are left out. If it returns False
        the call is ended, with the cause `stopped` unless it had just ended by itself; what it raises ends the call too.
        """
        ...

    def close(self) -> None:
        """Ends a call that is running (its `run` raises SandboxUnavailable) and releases everything. May be called twice."""
        ...
