"""The warm process: torch is imported here once, and each call is a fork of it. One call at a time.

Started by the trusted side with a clean environment (see `stem`). It holds no secret and no label, and reads nothing that a
candidate wrote. It stays single-threaded (a fork of a multi-threaded process can hang) and never touches CUDA. It also
watches each call to its end.
"""

from __future__ import annotations

import contextlib
import gc
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

from sandbox import pages, scratch, watchdog, worker
from sandbox.forked import Worker
from sandbox.isolation import cgroup, linux

POLL_SECONDS, SLOWEST_POLL = 0.02, 0.1
"""Between two looks at a call, at its beginning and when it has run for a while: each costs some CPU time of the machine."""
_SLOWER = 0.05
"""By how much of a call's age."""


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    warm = "--cold" not in sys.argv
    if warm:
        _warm_up()
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection would touch, and so copy, the pages that all children share
        pages.collapse()
    sys.dont_write_bytecode = True  # from here on, what is imported could be code that nobody has read
    linux.set_dumpable(False)
    if "--stem" in sys.argv:
        channel = _fork_zygotes(channel)
    _serve_calls(channel, warm)


def _fork_zygotes(channel: socket.socket) -> socket.socket:
    """The life of a stem: a fork for each channel that comes. Returns in the forks, with their channel."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    _tell(channel, b"ready")
    while True:
        heard = _hear(channel)
        if heard is None:
            os._exit(0)
        pid = os.fork()
        theirs = socket.socket(fileno=heard[1][0])
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            channel.close()
            return theirs
        theirs.close()
        process = os.pidfd_open(pid)
        _tell(channel, b"%d" % pid, process)
        os.close(process)


PROFILE = ("layers", "devices", "gpu", "scratch_bytes", "readable", "world_readable")
"""What of a call a worker takes on before the call has come."""


def _serve_calls(channel: socket.socket, ahead: bool) -> None:
    """The life of a zygote. `ahead`: the process of the next call is made ready while one runs."""
    linux.adopt_orphans()
    baseline = watchdog.resident(os.getpid(), *watchdog.OWN)
    first = _hear(channel)
    if first is None:
        os._exit(0)
    with open(first[1][0]) as file:
        place = dict(json.load(file))
    _say(channel, {"ready": True})
    spare: Worker | None = None
    while heard := _hear(channel):
        data, descriptors = heard
        if data in (worker.STOP, worker.GO):
            continue  # it came when its call had just ended
        order = {**json.loads(data), "baseline": baseline}
        profile = {key: order[key] for key in PROFILE}
        if spare is None or spare.profile != profile:
            if spare is not None:
                spare.end()
            try:
                spare = Worker(profile, place)
            except OSError as error:  # no process, no descriptor or no room on the disk is left
                _say(channel, {"broken": str(error)})
                break
        serving, spare = spare, None
        began = time.monotonic()
        serving.hand_over(order, descriptors)
        if ahead:
            with contextlib.suppress(OSError):  # the next call will tell
                spare = Worker(profile, place)  # made ready while this call runs
        _say(channel, _serve(serving, order, channel, began, spare))
    if spare is not None:
        spare.end()
    scratch.remove(place["folder"])
    os._exit(0)


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
    loss = torch.nn.functional.cross_entropy(model(torch.zeros(1, 1, 2, 2)).mean((2, 3)), torch.zeros(1, dtype=torch.long))
    if not os.path.exists("/dev/nvidiactl"):  # what follows counts the GPUs, and so would wake CUDA's driver
        loss.backward()
        optimizer.step()
        schedule.step()
    with os.scandir("/proc/self/fd") as opened:
        links = [os.readlink(entry.path) for entry in opened]
    assert not any("nvidia" in link for link in links), "a fork of a process that has initialised CUDA cannot use it"


def _serve(
    serving: Worker, order: Mapping[str, Any], channel: socket.socket, began: float, spare: Worker | None
) -> dict[str, Any]:
    """Watches the call to its end, leaves no process of it behind; what was measured."""
    cause = None
    if order["held"]:
        cause, began = _hold(serving, channel), time.monotonic()
    cause = cause or _watch(serving, order, channel, began)
    status, peak, cpu = serving.reap()
    seconds = time.monotonic() - began
    if cause is None and serving.group and cgroup.ran_out_of_memory(serving.group):
        cause = "memory"
    watchdog.end_orphans(spare.pid if spare else None)
    serving.leave_nothing()
    return {
        "cause": cause or ("signal" if os.WIFSIGNALED(status) else "exit"),
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory": peak,
    }


def _hold(serving: Worker, channel: socket.socket) -> str | None:
    """Until the call may start. Its cause, if it is ended before."""
    child = os.pidfd_open(serving.pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    found = {descriptor for descriptor, _ in poll.poll()}
    os.close(child)
    stopped = child not in found and _word(channel) != worker.GO
    if stopped:
        watchdog.kill_all(serving.pid)
    serving.start()
    return "stopped" if stopped else None


def _watch(serving: Worker, order: Mapping[str, Any], channel: socket.socket, began: float) -> str | None:
    """Waits for the end of the call, or kills it at a limit or when asked to, and says which."""
    child = os.pidfd_open(serving.pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    if order["layers"]["namespaces"]:
        poll.register(serving.status, select.POLLIN)
    try:
        while True:
            age = time.monotonic() - began
            left = order["limits"]["seconds"] - age
            pause = min(POLL_SECONDS + _SLOWER * age, SLOWEST_POLL)
            found = {descriptor for descriptor, _ in poll.poll(max(0.0, min(pause, left)) * 1000)}
            if child in found:
                return None
            if serving.status in found:  # the candidate's process has ended; its namespaces take their time
                poll.unregister(serving.status)
                _say(channel, {"ended": True})
            cause = "stopped" if channel.fileno() in found and _word(channel) != worker.GO else None
            cause = cause or watchdog.limit_reached(serving.pid, order, serving.scratch, left)
            if cause:
                watchdog.kill_all(serving.pid)
                return cause
    finally:
        os.close(child)


def _word(channel: socket.socket) -> bytes:
    """What the trusted side says while a call is there; empty if it has gone, which `_hear` will find too."""
    try:
        return channel.recv(16)
    except ConnectionError:
        return b""


def _hear(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """What the trusted side sends, with descriptors; None when it has gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, worker.MAX_ORDER, 128)
    except ConnectionError:
        return None
    return (data, descriptors) if data else None


def _say(channel: socket.socket, facts: Mapping[str, Any]) -> None:
    _tell(channel, json.dumps(facts).encode())


def _tell(channel: socket.socket, data: bytes, *descriptors: int) -> None:
    """If the trusted side has gone, `_hear` finds it too."""
    try:
        socket.send_fds(channel, [data], descriptors)
    except (BrokenPipeError, ConnectionError):
        return


if struct.calcsize("P") != 8:
    raise ImportError("only 64-bit systems are supported")

if __name__ == "__main__":
    main()
