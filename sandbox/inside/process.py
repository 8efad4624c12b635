"""The process of one call, from fork to exit: it puts on the layers, waits for the call, and runs the entry function.

Only the slot server calls `live`, which never returns. `channel` lists the descriptors.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from sandbox.inside import layers
from sandbox.inside.call import RunningCall
from sandbox.inside.channel import (
    CHANNEL,
    FIRST_INPUT,
    LENGTH,
    MAX_DESCRIPTORS,
    MAX_ORDER,
    RESULT,
    START,
    STATUS,
    TOO_LONG,
    arrange_descriptors,
)
from sandbox.inside.closed_packages import hide_closed_packages
from sandbox.isolation import limits, linux, namespaces

_FILE_SIZE = 64 << 20


def live(profile: Mapping[str, Any], machine: Mapping[str, Any], channel: socket.socket, status: int, parent: int) -> None:
    """Put on all layers, then wait on `channel` for the call, so that the process is ready before there is a call. Never returns.

    `profile`, `machine`: see `layers`. `status`: the descriptor on which the trusted init reports. `parent`: the slot server's
    pid. A failure before the call has arrived is reported on the channel.
    """
    try:
        channel = _detach(channel, status, parent)
        try:
            in_force = layers.put_on(profile, machine, channel)
        except BaseException:  # a layer that this machine does not offer
            channel.send(_traceback()[-4000:])
            raise
        order, request = _receive(channel)
        run(order, request, Path(machine["scratch"] or namespaces.SCRATCH), in_force)
    except BaseException:  # the edge of the process: the error goes to the log, and nothing follows
        os.write(2, _traceback())
    finally:
        os._exit(70)


def run(order: Mapping[str, Any], request: Mapping[str, Any], scratch: Path, in_force: tuple[str, ...]) -> None:
    """Apply the limits of the call, then run the entry function and with it the candidate's code. Never returns."""
    code = 1
    try:
        in_force = (*in_force, *_apply_limits(order, request["threads"]))
        os.environ["TMPDIR"] = os.environ["HOME"] = str(scratch)
        if "tempfile" in sys.modules:  # it may have chosen a folder before
            setattr(sys.modules["tempfile"], "tempdir", str(scratch))  # noqa: B010 (a module's own global)
        sys.stdout, sys.stderr = map(_stream, (1, 2))
        os.write(1, f"{','.join(in_force)}\n".encode())
        gc.enable()
        if order["held"]:
            os.read(START, 1)
            os.close(START)
        hide_closed_packages()
        module, _, function = request["entry"].partition(":")
        call = RunningCall(
            sources=request["sources"],
            inputs={name: FIRST_INPUT + i for i, name in enumerate(request["inputs"])},
            options=request["options"],
            device=request["device"],
            threads=request["threads"],
            scratch=scratch,
        )
        result = getattr(importlib.import_module(module), function)(call)
        _write_result(result)
        code = 0
    except SystemExit as stop:
        _say(f"SystemExit: the program ended itself with {_shown(stop.code)}\n".encode("utf-8", "backslashreplace"))
    except BaseException:  # the candidate may raise anything; the trusted side reads it in the log
        _say(_traceback())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _detach(channel: socket.socket, status: int, parent: int) -> socket.socket:
    """Give the process its own session and descriptors and a clean environment; it dies with the slot server.

    It goes on ignoring what a batch system sends to every process of a job: the run decides what is still finished.
    """
    os.setsid()
    linux.set_name("evolve-call")
    linux.die_with_parent()
    if os.getppid() != parent:
        os._exit(71)
    linux.set_dumpable(True)  # needed to write one's own uid_map; there is no secret in this process
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    arrange_descriptors({0: null, 1: null, 2: null, CHANNEL: channel.detach(), STATUS: status})
    os.environ.clear()
    os.environ.update({"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"})
    return socket.socket(fileno=CHANNEL)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], dict[str, Any]]:
    """Receive the call as (order, request), move its descriptors to their numbers, and close the channel."""
    message, descriptors, _, _ = socket.recv_fds(channel, MAX_ORDER, MAX_DESCRIPTORS)
    if not descriptors:  # the slot server has ended
        os._exit(0)
    request_file, log, result, *inputs = descriptors
    order = dict(json.loads(message))
    with open(request_file, "rb", closefd=False) as file:
        request = dict(json.load(file))
    channel.detach()
    numbers = {0: os.open("/dev/null", os.O_RDWR), 1: log, 2: log, RESULT: result}
    if order["held"]:
        numbers[START] = inputs.pop(0)
    arrange_descriptors(numbers | {FIRST_INPUT + i: source for i, source in enumerate(inputs)})
    return order, request


def _apply_limits(order: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    if not order["layers"]["rlimits"]:
        return ()
    limit = order["limits"]
    data = None if order["gpu"] else limit["memory"] + order["baseline"] + (1 << 30)
    largest = max(_FILE_SIZE, limit["scratch"], os.fstat(RESULT).st_size)  # the result is a file too, to the kernel
    limits.apply(data, largest, int(limit["seconds"] * max(threads, 1)) + 60)
    return ("rlimits",)


def _write_result(result: Any) -> None:
    """Write the result to the memory file of fixed size, without mapping it: too long a result is an error and not a crash."""
    data = bytes(result)
    room = os.fstat(RESULT).st_size - LENGTH.size
    if len(data) > room:
        os.pwrite(RESULT, LENGTH.pack(TOO_LONG), 0)
        return
    view, offset = memoryview(data), LENGTH.size
    while view:
        written = os.pwrite(RESULT, view, offset)
        view, offset = view[written:], offset + written
    os.pwrite(RESULT, LENGTH.pack(len(data) + 1), 0)


def _stream(number: int) -> TextIO:
    """A stream that takes every text: half a character, which has no UTF-8, is written as an escape."""
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _say(text: bytes) -> None:
    """Write to the log after what the program has printed, whatever it has done to its streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # it may be anything by now
            continue
    while text:
        text = text[os.write(2, text) :]


def _shown(value: object) -> str:
    try:
        return repr(value)
    except BaseException as error:
        return f"a {type(value).__name__} that has no text ({type(error).__name__})"


def _traceback() -> bytes:
    import traceback  # imported late: a tenth of a cold start

    try:
        return traceback.format_exc().encode("utf-8", "backslashreplace")
    except BaseException as error:  # an exception may be made so that it cannot be shown
        kind = sys.exc_info()[0] if error.__context__ is None else type(error.__context__)
        return f"{getattr(kind, '__name__', 'Exception')}: it cannot be shown ({type(error).__name__})\n".encode()
