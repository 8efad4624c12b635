"""The interface of every sandbox: one call runs one trusted function next to one candidate's code, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Level = Literal["full", "contained", "reduced", "none"]

LEVELS: tuple[Level, ...] = ("full", "contained", "reduced", "none")
"""Levels of isolation, best first."""

Cause = Literal["exit", "signal", "timeout", "memory", "disk", "processes", "result", "stopped", "device", "unwatched"]
"""Why the process ended, as the trusted side observed it: by itself (`exit`, `signal`), at a limit, `stopped` by a `Watch`, or
because its `device`, a GPU, ran out of memory or failed; `unwatched` if it made what is read of it from outside unreadable."""

Turn = AbstractContextManager[object]
"""A context that a call enters before the candidate's code starts, waiting if necessary, and leaves when that code has ended."""

Watch = Callable[[str], bool]
"""A function that receives a line of a call's output and returns False to end the call. See `Sandbox.run`."""


class SandboxUnavailable(Exception):
    """The machine is at fault: the sandbox could not run the call at all. Never raised for a candidate's fault."""


class TaskError(Exception):
    """The user asked a task for something impossible. The message is one sentence. It is raised before anything is spent."""


@dataclass(frozen=True)
class CallLimits:
    """What one call may use, in bytes and seconds."""

    seconds: float
    memory: int
    """Private and shared memory of all processes of the call together."""
    result: int
    """Largest size of the result."""
    scratch: int = 256 << 20
    """Bytes that may be written to the scratch folder."""
    log: int = 64 << 10
    """Bytes of stdout and stderr that are kept (head and tail); everything between is read and dropped."""


@dataclass(frozen=True)
class Call:
    """What one process does: run the trusted function `entry` with the candidate's sources and read-only inputs."""

    entry: str
    """`package.module:function`; the function takes a `sandbox.inside.call.RunningCall` and returns the result as bytes."""
    sources: Mapping[str, str]
    """The candidate's files: relative path -> text. They become importable, `model.py` as `model`."""
    limits: CallLimits
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Files that the process may read, by name: the trusted side opens them and hands over descriptors."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Small JSON values from the trusted side."""
    device: str = "cpu"
    """`cpu` or `cuda:N`, the GPU with the device node /dev/nvidiaN. In `pool.lanes` the slot decides."""
    threads: int = 1
    locks: bool = False
    """Whether the process may lock files, which others that can read them can see. One on a GPU may in any case."""
    slot: bool = False
    """True for a training: where several sandboxes share devices it needs a slot for itself. See `pool.lanes`."""
    readable: tuple[Path, ...] = ()
    """Real paths of files and folders that the process may read in place, in addition to what every call may read. Named here,
    a folder that is hidden from other calls is open."""


@dataclass(frozen=True)
class Report:
    """What the trusted side measured of one call. A candidate can influence only `result` and `log`."""

    cause: Cause
    status: int
    """Exit code, or the negative number of the signal."""
    seconds: float
    cpu_seconds: float
    peak_memory: int
    """Bytes."""
    result: bytes = b""
    """Empty unless the entry function returned normally."""
    log: str = ""
    """Head and tail of stdout and stderr without control characters. Hostile text."""
    layers: tuple[str, ...] = ()
    """The isolation layers that were in force when the candidate's code started."""

    @property
    def ok(self) -> bool:
        return self.cause == "exit" and self.status == 0


class Sandbox(Protocol):
    """Runs one call at a time, from any thread. Several calls at once need several sandboxes."""

    level: Level

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Run one call to its end. Raises SandboxUnavailable. When it returns or raises, no process of the call is left.

        While the call runs, `watch` receives each complete line of its output, in this thread: hostile text without control
        characters, cut to 500 characters. Lines that arrive faster than `watch` handles them are dropped in part. If it
        returns False the call is ended, with the cause `stopped` unless it had just ended by itself; an exception that it
        raises ends the call too.
        """
        ...

    def close(self) -> None:
        """End a running call (its `run` raises SandboxUnavailable) and release everything. May be called twice."""
        ...


@runtime_checkable
class SharedSandbox(Protocol):
    """A `Sandbox` beside others on the same machine."""

    def alone(self) -> AbstractContextManager[None]:
        """Inside, no call of the others runs, so that times can be measured. Waits until those that run have ended."""
        ...


class Lane(Protocol):
    """A `Sandbox` that can also prepare a call and then wait for its turn to start the candidate's code."""

    level: Level

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report:
        """As `Sandbox.run`. `turn` is entered when everything is ready, and left when the candidate's code has ended."""
        ...

    def close(self) -> None: ...
