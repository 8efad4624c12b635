"""The slot server's side of the process of one call: make it ready, hand it the call, watch it from outside, reap it, clean up.

A candidate cannot influence anything that is measured here. Processes and their memory are read from Linux's /proc.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from sandbox.inside import layers
from sandbox.inside.channel import ENDED, MAX_ORDER
from sandbox.inside.process import live
from sandbox.isolation import cgroup
from sandbox.launch import scratch

MANY = 4
"""With more processes than this, shared pages are divided among them; otherwise they would be counted once for each."""
MAX_PROCESSES = 16
MAX_THREADS = 1024
"""Largest number of threads of all processes together; a training on the largest machines has a few hundred."""
MAX_LOCKS = 10_000
"""Largest number of locks on files: each is memory of the kernel that is counted nowhere else."""
_LOCK_LIST = 4 << 20
"""Bytes that are read of the list of all locks of the machine."""

# Page tables count: memory that is only read has no resident page of its own, but it has a page table.
OWN = ("status", ("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"))
"""A file in /proc, and its lines whose sum is the memory of one process."""
_SHARE = ("smaps_rollup", ("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))
"""The same with shared pages divided among the processes that share them."""
_SHARED = re.compile(r"^(\w+)-(\w+) ..-s .*/dev/zero \(deleted\)$", re.MULTILINE)
_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_NUMBERS = itertools.count()


class CallProcess:
    """A forked process that is ready for one call of its profile, or reports why it cannot be."""

    def __init__(self, profile: dict[str, Any], machine: Mapping[str, Any]) -> None:
        """Fork the process. `profile`, `machine`: see `inside.layers`. Raises OSError."""
        threads = os.listdir("/proc/self/task")
        assert len(threads) == 1, f"the slot server must be single-threaded before a fork, and has {len(threads)} threads"
        self.profile = profile
        number = next(_NUMBERS)
        self.scratch = None if profile["layers"]["namespaces"] else f"{machine['folder']}/scratch-{number}"
        """The scratch folder; None if the call has a private root."""
        if self.scratch:
            os.mkdir(self.scratch, 0o700)
            if layers.becomes_nobody(profile, machine):
                os.chown(self.scratch, layers.NOBODY, layers.NOBODY)
        self.group = cgroup.make(machine["cgroup"], f"evolve-{os.getpid()}-{number}") if machine["cgroup"] else None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            live(profile, {**machine, "scratch": self.scratch, "cgroup": self.group}, theirs, status, parent)
        theirs.close()
        os.close(status)

    def hand_over(self, order: Mapping[str, Any], descriptors: list[int]) -> None:
        """Send the call. `descriptors`: request, log, result, inputs; they are closed here.

        If the call is `held`, no code of the candidate runs before `start`. An error that kept the process from getting ready
        goes to the log.
        """
        if order["held"]:
            start, self._start = os.pipe2(os.O_CLOEXEC)
            descriptors = [*descriptors[:3], start, *descriptors[3:]]
        if self.group:
            memory = order["limits"]["memory"] + order["limits"]["scratch"]
            cgroup.limit(self.group, memory, MAX_THREADS + MAX_PROCESSES)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died already; `reap` finds out how
            socket.send_fds(self._channel, [json.dumps(order).encode()], descriptors)
        self._log = os.dup(descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)

    def start(self) -> None:
        """Start a call that was held."""
        with contextlib.suppress(BrokenPipeError):  # it has died
            os.write(self._start, b"1")
        os.close(self._start)

    def end(self) -> None:
        """End a process that got no call."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._close()

    def reap(self) -> tuple[int, int, float]:
        """Wait for the end of the process that ran the candidate; return (wait status, peak memory in bytes, CPU seconds)."""
        _, status, usage = os.wait4(self.pid, 0)
        peak, cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
        ended = os.read(self.status, ENDED.size) if _has_data(self.status) else b""
        if len(ended) == ENDED.size:
            status, peak, user, system = ENDED.unpack(ended)
            cpu = user + system
        if _has_data(self._channel.fileno()):
            with contextlib.suppress(BrokenPipeError):  # the trusted side has ended, and nobody reads the log any more
                os.write(self._log, self._last_words())
        return status, peak, cpu

    def _last_words(self) -> bytes:
        """Why the process could not get ready. The first attempt may only tell that it has not read its call."""
        for _ in range(2):
            with contextlib.suppress(ConnectionResetError):
                return self._channel.recv(MAX_ORDER)
        return b""

    def clean_up(self) -> None:
        """After the end of the call, kill what is left in its group and remove its folder."""
        os.close(self._log)
        self._close()

    def _close(self) -> None:
        os.close(self.status)
        self._channel.close()
        if self.group:
            cgroup.remove(self.group)
        if self.scratch:
            scratch.remove(self.scratch)


def limit_reached(pid: int, order: Mapping[str, Any], folder: str | None, left: float) -> str | None:
    """Return the cause for which the call of process `pid` must be ended, if any. `left`: seconds that remain of its time."""
    limit = order["limits"]
    if left <= 0:
        return "timeout"
    tree = processes_of(pid)
    if len(tree) > MAX_PROCESSES or sum(len(_threads(process)) for process in tree) > MAX_THREADS:
        return "processes"
    hidden = sum(map(_mapped_and_shared, tree)) if order["gpu"] else 0  # without a GPU seccomp forbids such pages
    if max(_memory(tree, order["baseline"]), hidden) > limit["memory"]:
        return "memory"
    if order["locks"] and _locks(tree) > MAX_LOCKS:
        return "memory"
    if folder is not None and scratch.is_over(folder, limit["scratch"]):
        return "disk"
    return None


def kill_all(pid: int) -> None:
    """Kill the call's first process and everything below it. Orphans become children of the slot server: see `end_orphans`."""
    for process in reversed(processes_of(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def end_orphans(spare: int | None) -> None:
    """Kill every child of the slot server except the spare. After a call they are its orphans, re-parented; none may stay."""
    while strays := processes_of(os.getpid(), without=spare)[1:]:
        for process in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in strays:  # never block on one: it may not be a child of the slot server yet
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        time.sleep(0.001)


def processes_of(pid: int, without: int | None = None) -> list[int]:
    """Return the process and its descendants, except `without` and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += (child for child in _children(process) if child != without)
    return found


def resident(process: int, name: str, keys: tuple[str, ...]) -> int:
    """Return memory in bytes: the sum of the lines `keys` of a file in /proc.

    A process whose first thread has ended shows its memory only in the other threads.
    """
    for thread in _threads(process):
        try:
            # Only "\n" ends a line there: the name of a process may hold what else `splitlines` takes for an end.
            lines = _read(f"/proc/{process}/task/{thread}/{name}").split("\n")
            values = [int(line.split()[1]) for line in lines if line.startswith(keys)]
        except OSError:
            continue
        if values:
            return sum(values) * 1024
    return 0


def _children(process: int) -> list[int]:
    found: list[int] = []
    for thread in _threads(process):
        try:
            found += map(int, _read(f"/proc/{process}/task/{thread}/children").split())
        except OSError:  # it has just ended, or this kernel was built without these files
            if not _LISTS_CHILDREN:
                return [int(other) for other in os.listdir("/proc") if other.isdigit() and _parent(other) == process]
    return found


def _locks(processes: list[int]) -> int:
    """Return how many locks on files the processes hold or wait for."""
    owners = set(map(str, processes))
    try:
        lines = _read("/proc/locks", _LOCK_LIST).split("\n")
    except OSError:
        return 0
    words = (line.replace("->", "", 1).split() for line in lines)
    return sum(len(found) > 4 and found[4] in owners for found in words)


def _read(path: str, most: int = sys.maxsize) -> str:
    """Read a file of /proc, with names in it that need not be UTF-8.

    More cheaply than `open`: this runs many times a second during every training.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    pieces, left = [], most
    try:
        while left > 0 and (piece := os.read(descriptor, 1 << 16)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces).decode("utf-8", "replace")


def _parent(process: str) -> int | None:
    try:
        return int(_read(f"/proc/{process}/stat").rpartition(")")[2].split()[1])
    except OSError:
        return None


def _threads(process: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/task")
    except OSError:
        return []


def _memory(processes: list[int], baseline: int) -> int:
    """Return the bytes that the call has taken beyond the slot server's pages, which /proc shows as every fork's own."""
    if len(processes) > MANY:
        return sum(resident(process, *_SHARE) for process in processes) - baseline
    return sum(max(0, resident(process, *OWN) - baseline) for process in processes)


def _mapped_and_shared(process: int) -> int:
    """Return the bytes of shared memory without a file: released pages of it stay in use, though no process has them resident."""
    try:
        spans = _SHARED.findall(_read(f"/proc/{process}/maps"))
    except OSError:
        return 0
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


def _has_data(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
