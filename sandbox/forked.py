"""A process that the zygote has forked for one call, as the zygote sees it: made ready, handed a call, reaped, cleared away."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Any

from sandbox import scratch, watchdog, worker
from sandbox.isolation import cgroup

_NUMBERS = itertools.count()


class Worker:
    """A forked process that is ready for one call of its profile, or says why it cannot be."""

    def __init__(self, profile: dict[str, Any], place: Mapping[str, Any]) -> None:
        threads = os.listdir("/proc/self/task")
        assert len(threads) == 1, f"the zygote must be single-threaded before a fork, and has {len(threads)} threads"
        self.profile = profile
        number = next(_NUMBERS)
        self.scratch = None if profile["layers"]["namespaces"] else f"{place['folder']}/scratch-{number}"
        """A folder, where the call has no root of its own."""
        if self.scratch:
            os.mkdir(self.scratch, 0o700)
            if worker.becomes_nobody(profile, place):
                os.chown(self.scratch, worker.NOBODY, worker.NOBODY)
        self.group = cgroup.make(place["cgroup"], f"evolve-{os.getpid()}-{number}") if place["cgroup"] else None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        zygote = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            worker.live(profile, {**place, "scratch": self.scratch, "cgroup": self.group}, theirs, status, zygote)
        theirs.close()
        os.close(status)

    def hand_over(self, order: Mapping[str, Any], descriptors: list[int]) -> None:
        """`descriptors`: request, log, result, inputs; closed here. What kept the worker from getting ready goes to the log.

        If the call is `held`, no code of the candidate's runs before `start`.
        """
        if order["held"]:
            start, self._start = os.pipe2(os.O_CLOEXEC)
            descriptors = [*descriptors[:3], start, *descriptors[3:]]
        if self.group:
            memory = order["limits"]["memory"] + order["limits"]["scratch"]
            cgroup.limit(self.group, memory, watchdog.MAX_THREADS + watchdog.MAX_PROCESSES)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died before; `reap` sees how
            socket.send_fds(self._channel, [json.dumps(order).encode()], descriptors)
        self._log = os.dup(descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)

    def start(self) -> None:
        """Of a call that was held."""
        with contextlib.suppress(BrokenPipeError):  # it has died
            os.write(self._start, b"1")
        os.close(self._start)

    def end(self) -> None:
        """A spare that is not needed any more."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._close()

    def reap(self) -> tuple[int, int, float]:
        """(wait status, peak memory in bytes, CPU seconds) of the process that ran the candidate. Waits for its end."""
        _, status, usage = os.wait4(self.pid, 0)
        peak, cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
        told = os.read(self.status, worker.ENDED.size) if _has_data(self.status) else b""
        if len(told) == worker.ENDED.size:
            status, peak, user, system = worker.ENDED.unpack(told)
            cpu = user + system
        if _has_data(self._channel.fileno()):
            with contextlib.suppress(ConnectionResetError):
                os.write(self._log, self._channel.recv(worker.MAX_ORDER))
        return status, peak, cpu

    def leave_nothing(self) -> None:
        """After the call has ended: no stray in its group, and nothing that it was given."""
        os.close(self._log)
        self._close()

    def _close(self) -> None:
        os.close(self.status)
        self._channel.close()
        if self.group:
            cgroup.remove(self.group)
        if self.scratch:
            scratch.remove(self.scratch)


def _has_data(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
