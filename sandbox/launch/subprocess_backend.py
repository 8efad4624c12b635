"""A sandbox without a warm process: each call is an interpreter of its own.

It is for systems on which a process that has loaded torch must not fork, such as macOS, where it runs under Seatbelt. It keeps
the contract of every sandbox, with one exception: a candidate that can fork and starts a session of its own escapes. Under
Seatbelt it cannot fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.inside.channel import LENGTH
from sandbox.isolation import levels, seatbelt
from sandbox.launch import scratch, temporary
from sandbox.launch.output import HeadAndTail, Lines
from sandbox.launch.protocol import order, report, request
from sandbox.sandbox import Call, Cause, Level, Report, SandboxUnavailable, Turn, Watch

POLL_SECONDS = 0.02
LOOK_SECONDS = 0.1
"""Seconds between two checks: of a call's scratch folder, and of its processes and their memory. The latter run `ps`."""
MAX_PROCESSES = 16
IMPORTS = 300 << 20
"""Bytes that an interpreter with torch occupies before it does anything: granted on top of a call's limit."""


def command(descriptors: Iterable[int]) -> list[str]:
    """Return the command line of the process of a call."""
    return [*levels.python("sandbox.inside.standalone"), *map(str, descriptors)]


class SubprocessSandbox:
    """Runs each call in an interpreter of its own, under Seatbelt if its layers say so."""

    def __init__(self, level: Level, layers: Mapping[str, bool]) -> None:
        self.level = level
        self._layers = dict(layers)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report:
        """Run one call to its end. Raises SandboxUnavailable. `turn` is held while the process lives."""
        with self._lock, contextlib.ExitStack() as stack:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            folder = os.path.realpath(tempfile.mkdtemp(prefix="sandbox-", dir=temporary.folder()))
            stack.callback(scratch.remove, folder)
            own = os.path.join(folder, "scratch")
            os.mkdir(own)
            document = {"order": order(call, self._layers, held=False), "request": request(call), "scratch": own}
            request_file = stack.enter_context(tempfile.TemporaryFile())
            request_file.write(json.dumps(document).encode("utf-8", "surrogatepass"))
            request_file.flush()
            result = stack.enter_context(tempfile.TemporaryFile())
            result.truncate(LENGTH.size + call.limits.result)
            inputs = [stack.enter_context(open(path, "rb")).fileno() for path in call.inputs.values()]
            log_read, log_write = os.pipe()
            stack.callback(os.close, log_read)
            if turn is not None:
                stack.enter_context(turn)
            try:
                started = time.monotonic()
                process = self._start([request_file.fileno(), result.fileno(), *inputs], own, log_write, call.readable)
            finally:
                os.close(log_write)
            stack.callback(_kill, process)
            output = _Output(log_read, call.limits.log, watch)
            measured = _watch(process, call, own, started, output)
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            return report(measured, output.text(), result.fileno(), call, self._layers)

    def close(self) -> None:
        self._closed = True
        if (process := self._process) is not None:
            _kill(process)

    def _start(self, descriptors: list[int], own: str, log: int, also: Iterable[object]) -> subprocess.Popen[bytes]:
        prefix = seatbelt.command(own, [str(path) for path in also]) if self._layers.get("seatbelt") else []
        try:
            self._process = subprocess.Popen(
                [*prefix, *command(descriptors)],
                env=levels.environment() | {"HOME": own, "TMPDIR": own},
                cwd=own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process cannot be started: {error}") from error
        return self._process


class _Output:
    """The output of the process: always read, kept in part, passed on line by line."""

    def __init__(self, descriptor: int, limit: int, watch: Watch | None) -> None:
        self._descriptor, self._kept = descriptor, HeadAndTail(limit)
        self._lines = Lines(watch) if watch else None
        self.text = self._kept.text
        self.enough = False
        """True once `watch` has asked to end the call."""

    def drain(self, seconds: float) -> bool:
        """Wait at most `seconds` for output, and take it. Return False if there was none."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        data = os.read(self._descriptor, 1 << 16)
        if not data:
            time.sleep(seconds)  # closed by the candidate: there is nothing more to wait for
            return False
        self._kept.add(data)
        if self._lines and not self._lines.add(data):
            self._lines, self.enough = None, True
        return True


def _watch(process: subprocess.Popen[bytes], call: Call, own: str, started: float, output: _Output) -> dict[str, Any]:
    """Read the log and check the limits until the process has ended; return what was measured."""
    cause: Cause | None = None
    checked = started
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        output.drain(POLL_SECONDS)
        now = time.monotonic()
        if now - started > call.limits.seconds:
            cause = cause or "timeout"
        if output.enough:
            cause = cause or "stopped"
        if now - checked > LOOK_SECONDS:
            checked = now
            cause = cause or _limit_reached(process.pid, call, own)
        if cause:
            _kill(process)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    seconds = time.monotonic() - started
    _kill(process)
    while output.drain(0.0):
        continue
    usage = ended[2]
    return {
        "cause": cause or ("signal" if process.returncode < 0 else "exit"),
        "status": process.returncode,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def _limit_reached(pid: int, call: Call, own: str) -> Cause | None:
    sizes = _resident(pid)
    if len(sizes) > MAX_PROCESSES:
        return "processes"
    if sum(sizes) > call.limits.memory + IMPORTS:
        return "memory"
    return "disk" if scratch.is_over(own, call.limits.scratch) else None


def _resident(group: int) -> list[int]:
    """Return the memory in bytes of each process of the call, from `ps`, which every system has."""
    lines = subprocess.run(["ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True).stdout.splitlines()
    rows = (line.split() for line in lines)
    return [int(size) * 1024 for number, size in rows if number == str(group)]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and everything that stayed in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
