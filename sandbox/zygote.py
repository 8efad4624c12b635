"""The warm process: torch is imported here once, and each call is a fork of it. One call at a time.

Started by the trusted side with a clean environment: `python -m sandbox.zygote SOCKET PLACE`. It holds no secret and no label,
and reads nothing that a candidate wrote. It stays single-threaded (a fork of a multi-threaded process can hang) and never
touches CUDA. It also watches each call to its end.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any

from sandbox import scratch, watchdog, worker
from sandbox.isolation import cgroup, linux

POLL_SECONDS = 0.02


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    with open(int(sys.argv[2])) as file:
        place = dict(json.load(file))
    ahead = "--cold" not in sys.argv
    if ahead:
        _warm_up()
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection would touch, and so copy, the pages that all children share
    sys.dont_write_bytecode = True  # from here on, unread code could be what is imported
    linux.adopt_orphans()
    linux.set_dumpable(False)
    baseline = watchdog.resident(os.getpid(), *watchdog.OWN)
    _say(channel, {"ready": True})
    spare: Worker | None = None
    while order := _next(channel):
        told, descriptors = order
        profile = {key: told[key] for key in PROFILE}
        if spare is None or spare.profile != profile:
            if spare is not None:
                spare.end()
            spare = Worker(profile, place)
        serving, spare = spare, None
        began = time.monotonic()
        serving.hand_over({**told, "baseline": baseline}, descriptors)
        if ahead:
            spare = Worker(profile, place)  # made ready while this call runs
        _say(channel, _serve(serving, told["limits"], channel, began, baseline, spare))
    if spare is not None:
        spare.end()
    scratch.remove(place["folder"])
    os._exit(0)


def _next(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next call as the trusted side says it, with its descriptors; None when that side has gone."""
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, worker.MAX_ORDER, 128)
        except ConnectionError:
            return None
        if not data:
            return None
        if data != worker.STOP:  # that came when its call had just ended
            return dict(json.loads(data)), descriptors


PROFILE = ("layers", "devices", "gpu", "scratch_bytes")
"""What of a call a worker takes on before the call has come."""
_NUMBERS = itertools.count()


class Worker:
    """A forked process that is ready for one call of its profile, or says why it cannot be."""

    def __init__(self, profile: dict[str, Any], place: Mapping[str, Any]) -> None:
        threads = os.listdir("/proc/self/task")
        assert len(threads) == 1, f"the zygote must be single-threaded before a fork, and has {len(threads)} threads"
        self.profile = profile
        number = next(_NUMBERS)
        self.scratch = None if profile["layers"]["namespaces"] else f"{place['folder']}/scratch-{number}"
        if self.scratch:
            os.mkdir(self.scratch, 0o700)
            if worker.becomes_nobody(profile, place):
                os.chown(self.scratch, worker.NOBODY, worker.NOBODY)
        self.group = cgroup.make(place["cgroup"], f"evolve-{os.getpid()}-{number}") if place["cgroup"] else None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._status, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        zygote = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            worker.live(profile, {**place, "scratch": self.scratch, "cgroup": self.group}, theirs, status, zygote)
        theirs.close()
        os.close(status)

    def hand_over(self, order: Mapping[str, Any], descriptors: list[int]) -> None:
        """`descriptors`: request, log, result, inputs; closed here. What kept the worker from getting ready goes to the log."""
        if self.group:
            memory = order["limits"]["memory"] + order["limits"]["scratch"]
            cgroup.limit(self.group, memory, watchdog.MAX_THREADS + watchdog.MAX_PROCESSES)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died before; `reap` sees how
            socket.send_fds(self._channel, [json.dumps(order).encode()], descriptors)
        self._log = os.dup(descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)

    def end(self) -> None:
        """A spare that is not needed any more."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._close()

    def reap(self) -> tuple[int, int, float]:
        """(wait status, peak memory in bytes, CPU seconds) of the process that ran the candidate. Waits for its end."""
        _, status, usage = os.wait4(self.pid, 0)
        peak, cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
        told = os.read(self._status, worker.ENDED.size) if _has_data(self._status) else b""
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
        os.close(self._status)
        self._channel.close()
        if self.group:
            cgroup.remove(self.group)
        if self.scratch:
            scratch.remove(self.scratch)


def _warm_up() -> None:
    """Everything that a training imports late, so that no child pays for it; nothing that starts a thread."""
    import importlib
    import linecache  # noqa: F401 (tracebacks need it)

    import numpy  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch

    importlib.import_module("sandbox.tasks.inside")
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2), torch.nn.SiLU())
    optimizer = torch.optim.AdamW(model.parameters())  # the first optimizer imports a second of torch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    torch.nn.functional.cross_entropy(model(torch.zeros(1, 1, 2, 2)).mean((2, 3)), torch.zeros(1, dtype=torch.long)).backward()
    optimizer.step()
    schedule.step()
    assert not torch.cuda.is_initialized(), "CUDA cannot be used in a fork of a process that has initialised it"


def _serve(
    serving: Worker, limits: Mapping[str, Any], channel: socket.socket, began: float, baseline: int, spare: Worker | None
) -> dict[str, Any]:
    """Watches the call to its end, leaves no process of it behind; what was measured."""
    cause = _watch(serving, limits, channel, began, baseline)
    status, peak, cpu = serving.reap()
    if cause is None and serving.group and cgroup.ran_out_of_memory(serving.group):
        cause = "memory"
    seconds = time.monotonic() - began
    watchdog.end_orphans(spare.pid if spare else None)
    serving.leave_nothing()
    return {
        "cause": cause or ("signal" if os.WIFSIGNALED(status) else "exit"),
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory": peak,
    }


def _watch(serving: Worker, limits: Mapping[str, Any], channel: socket.socket, began: float, baseline: int) -> str | None:
    """Waits for the end of the call, or kills it at a limit and says which."""
    child = os.pidfd_open(serving.pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    try:
        while True:
            left = began + limits["seconds"] - time.monotonic()
            events = poll.poll(max(0.0, min(POLL_SECONDS, left)) * 1000)
            if any(descriptor == child for descriptor, _ in events):
                return None
            # Whatever comes on the channel: that the call is to be stopped, or that the trusted side has gone. `_next` takes it.
            cause = "stopped" if events else watchdog.limit_reached(serving.pid, limits, serving.scratch, left, baseline)
            if cause:
                watchdog.kill_all(serving.pid)
                return cause
    finally:
        os.close(child)


def _has_data(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _say(channel: socket.socket, facts: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the trusted side has gone: `_next` will see it too
        channel.send(json.dumps(facts).encode())


if struct.calcsize("P") != 8:
    raise ImportError("only 64-bit systems are supported")

if __name__ == "__main__":
    main()
