"""What the zygote sees of a call from outside: its processes, their memory and threads, its scratch folder; and their end.

A candidate has no say in any of it. Only Linux's /proc is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Mapping
from typing import Any

from sandbox import scratch

MANY = 4
"""Above this many processes shared pages are divided among them; else they would be counted once for each."""
MAX_PROCESSES = 16
MAX_THREADS = 1024
"""Of all processes together; a training on the largest machines has a few hundred."""

_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")

# Page tables count: memory that is only read has no resident page of its own, but a table.
OWN = ("status", ("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"))
_SHARED = re.compile(r"^(\w+)-(\w+) ..-s .*/dev/zero \(deleted\)$", re.MULTILINE)
_SHARE = ("smaps_rollup", ("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))


def limit_reached(pid: int, order: Mapping[str, Any], folder: str | None, left: float) -> str | None:
    """The cause for which the call of process `pid` has to be ended, if any. `left`: seconds of its time."""
    limit = order["limits"]
    if left <= 0:
        return "timeout"
    tree = processes_of(pid)
    if len(tree) > MAX_PROCESSES or sum(len(_threads(process)) for process in tree) > MAX_THREADS:
        return "processes"
    hidden = sum(map(_mapped_and_shared, tree)) if order["gpu"] else 0  # else there are no such pages: seccomp
    if max(_memory(tree, order["baseline"]), hidden) > limit["memory"]:
        return "memory"
    if folder is not None and scratch.is_over(folder, limit["scratch"]):
        return "disk"
    return None


def kill_all(pid: int) -> None:
    """The call's first process and everything below it; who escapes into orphanage comes to the zygote."""
    for process in reversed(processes_of(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def end_orphans(spare: int | None) -> None:
    """Children of the zygote after a call, but for the spare, are that call's strays, re-parented to it: none may stay."""
    while strays := processes_of(os.getpid(), without=spare)[1:]:
        for process in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in strays:  # never wait for one: it may not be a child of the zygote yet
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        time.sleep(0.001)


def processes_of(pid: int, without: int | None = None) -> list[int]:
    """The process and its descendants, but for `without` and its own."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += (child for child in _children(process) if child != without)
    return found


def _children(process: int) -> list[int]:
    found: list[int] = []
    for thread in _threads(process):
        try:
            found += map(int, _read(f"/proc/{process}/task/{thread}/children").split())
        except OSError:  # it has just ended, or this kernel was built without these files
            if not _LISTS_CHILDREN:
                return [int(other) for other in os.listdir("/proc") if other.isdigit() and _parent(other) == process]
    return found


def _read(path: str) -> str:
    """For less than `open` takes: it is done many times a second for as long as anything trains."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pieces = []
    try:
        while piece := os.read(descriptor, 1 << 16):
            pieces.append(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces).decode("utf-8", "replace")


def _parent(process: str) -> int | None:
    try:
        with open(f"/proc/{process}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _threads(process: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/task")
    except OSError:
        return []


def _memory(processes: list[int], baseline: int) -> int:
    """Bytes that the call has taken beyond what it shares with the zygote, whose pages each fork shows as its own."""
    if len(processes) > MANY:
        return sum(resident(process, *_SHARE) for process in processes) - baseline
    return sum(max(0, resident(process, *OWN) - baseline) for process in processes)


def _mapped_and_shared(process: int) -> int:
    """Bytes of memory that is shared and has no file: it stays in use, resident nowhere, when its pages are let go of."""
    try:
        with open(f"/proc/{process}/maps") as file:
            spans = _SHARED.findall(file.read())
    except OSError:
        return 0
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def resident(process: int, name: str, keys: tuple[str, ...]) -> int:
    """Bytes. A process whose first thread has ended shows its memory only in the other threads."""
    for thread in _threads(process):
        try:
            lines = _read(f"/proc/{process}/task/{thread}/{name}").splitlines()
            values = [int(line.split()[1]) for line in lines if line.startswith(keys)]
        except OSError:
            continue
        if values:
            return sum(values) * 1024
    return 0
