"""The process behind one sandbox: it forks the process of each call, one call at a time, and watches it to its end.

It runs in a process that `fork_server` has started or forked.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from sandbox.inside.channel import GO, MAX_DESCRIPTORS, MAX_ORDER, STOP
from sandbox.isolation import cgroup, linux
from sandbox.launch import scratch, supervisor, temporary
from sandbox.launch.supervisor import CallProcess

POLL_SECONDS, SLOWEST_POLL = 0.02, 0.1
"""Seconds between two checks of a call's limits: at its start, and after it has run for a while. Each check costs CPU time."""
_SLOWER = 0.05
"""The time between two checks grows by this share of the call's age."""
PROFILE = ("layers", "devices", "gpu", "locks", "scratch_bytes", "readable", "world_readable")
"""The keys of an order that a process needs before the call arrives."""


def serve_calls(channel: socket.socket, *, prepare_ahead: bool) -> None:
    """The main loop of a slot server. Never returns.

    `prepare_ahead`: the process of the next call is made ready while a call runs.
    """
    linux.adopt_orphans()
    baseline = supervisor.resident(os.getpid(), *supervisor.OWN)
    first = receive(channel)
    if first is None:
        os._exit(0)
    with open(first[1][0]) as file:
        machine = dict(json.load(file))
    _report(channel, {"ready": True})
    spare: CallProcess | None = None
    while message := receive(channel):
        data, descriptors = message
        if data in (STOP, GO):
            continue  # it arrived when its call had just ended
        order = {**json.loads(data), "baseline": baseline}
        profile = {key: order[key] for key in PROFILE}
        if spare is None or spare.profile != profile:
            if spare is not None:
                spare.end()
            try:
                spare = CallProcess(profile, machine)
            except OSError as error:  # no process, no descriptor or no room on the disk is left
                _report(channel, {"broken": str(error)})
                break
        process, spare = spare, None
        started = time.monotonic()
        process.hand_over(order, descriptors)
        if prepare_ahead:
            with contextlib.suppress(OSError):  # the next call reports it
                spare = CallProcess(profile, machine)
        _report(channel, _run_to_end(process, order, channel, started, spare))
    if spare is not None:
        spare.end()
    scratch.remove(machine["folder"])
    temporary.clear_abandoned_parent(machine["folder"])  # this may be the end because the process it serves was killed
    os._exit(0)


def receive(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """Return the next message of the trusted side, with descriptors; None if the trusted side has ended."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, MAX_ORDER, MAX_DESCRIPTORS)
    except ConnectionError:
        return None
    return (data, descriptors) if data else None


def send(channel: socket.socket, data: bytes, *descriptors: int) -> None:
    """Send a message. If the trusted side has ended, the next `receive` notices too."""
    try:
        socket.send_fds(channel, [data], descriptors)
    except (BrokenPipeError, ConnectionError):
        return


def _report(channel: socket.socket, facts: Mapping[str, Any]) -> None:
    send(channel, json.dumps(facts).encode())


def _run_to_end(
    process: CallProcess, order: Mapping[str, Any], channel: socket.socket, started: float, spare: CallProcess | None
) -> dict[str, Any]:
    """Supervise the call until it has ended and no process of it is left; return what was measured."""
    cause = None
    if order["held"]:
        cause, started = _hold(process, channel), time.monotonic()
    cause = cause or _watch(process, order, channel, started)
    status, peak, cpu = process.reap()
    seconds = time.monotonic() - started
    if cause is None and process.group and cgroup.ran_out_of_memory(process.group):
        cause = "memory"
    supervisor.end_orphans(spare.pid if spare else None)
    process.clean_up()
    return {
        "cause": cause or ("signal" if os.WIFSIGNALED(status) else "exit"),
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory": peak,
    }


def _hold(process: CallProcess, channel: socket.socket) -> str | None:
    """Wait until the call may start, then start it. Return the cause if it was ended before that."""
    pidfd = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    ready = {descriptor for descriptor, _ in poll.poll()}
    os.close(pidfd)
    stopped = pidfd not in ready and _next_word(channel) != GO
    if stopped:
        supervisor.kill_all(process.pid)
    process.start()
    return "stopped" if stopped else None


def _watch(process: CallProcess, order: Mapping[str, Any], channel: socket.socket, started: float) -> str | None:
    """Wait for the end of the call, or kill it at a limit or on demand. Return the cause if it was killed."""
    pidfd = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    if order["layers"]["namespaces"]:
        poll.register(process.status, select.POLLIN)
    try:
        while True:
            age = time.monotonic() - started
            left = order["limits"]["seconds"] - age
            pause = min(POLL_SECONDS + _SLOWER * age, SLOWEST_POLL)
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, min(pause, left)) * 1000)}
            if pidfd in ready:
                return None
            if process.status in ready:  # the candidate's process has ended; its namespaces take their time
                poll.unregister(process.status)
                _report(channel, {"ended": True})
            cause = "stopped" if channel.fileno() in ready and _next_word(channel) != GO else None
            cause = cause or _limit_reached(process, order, left)
            if cause:
                supervisor.kill_all(process.pid)
                return cause
    finally:
        os.close(pidfd)


def _limit_reached(process: CallProcess, order: Mapping[str, Any], left: float) -> str | None:
    """As in `supervisor`. What it cannot read there is the candidate's doing: it ends this call, and never the slot server."""
    try:
        return supervisor.limit_reached(process.pid, order, process.scratch, left)
    except (ValueError, LookupError):
        return "unwatched"


def _next_word(channel: socket.socket) -> bytes:
    """Return STOP or GO, sent during a call; empty if the trusted side has ended, which `receive` notices too."""
    try:
        return channel.recv(16)
    except ConnectionError:
        return b""
