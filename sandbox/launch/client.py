"""A sandbox over a warm process: the trusted side of every call."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sandbox.inside.channel import GO, LENGTH, MAX_ORDER, STOP
from sandbox.isolation import levels
from sandbox.launch import protocol, temporary
from sandbox.launch.output import HeadAndTail, Lines
from sandbox.launch.scratch import remove
from sandbox.launch.start import START_SECONDS, ForkServer, Process, start
from sandbox.sandbox import Call, Level, Report, SandboxUnavailable, Turn, Watch

RECYCLE_AFTER = 300
"""Calls that one slot server serves."""
GRACE_SECONDS = 10.0
"""Seconds past a call's time limit that the slot server may take to end the call before it counts as broken."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class ForkServerSandbox:
    """Runs each call in a fork of a slot server, under the layers of a level. Starts its slot server when first needed."""

    def __init__(
        self,
        level: Level,
        layers: Mapping[str, bool] | None = None,
        *,
        warm: bool = True,
        fork_server: ForkServer | None = None,
    ) -> None:
        """`layers`: the exact layers, for a level that can be built in several ways. `warm` false: without torch.

        `fork_server`: the process to fork slot servers from; without one, each slot server is an interpreter of its own.
        """
        self.level = level
        self._warm, self._fork_server = warm, fork_server
        self._layers = dict(layers or levels.LAYERS[level])
        self._lock = threading.Lock()
        self._server: _SlotServer | None = None
        self._closed = False

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report:
        """Run one call to its end. Raises SandboxUnavailable; the next call then starts a new slot server.

        `turn` is entered when everything is ready; then the candidate's code starts. `turn` is left as soon as the candidate's
        process has ended.
        """
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            if self._server is None or self._server.calls >= RECYCLE_AFTER:
                self._replace()
            assert self._server is not None
            try:
                return self._server.serve(call, self._layers, watch, turn)
            except BaseException as error:  # also after an interrupt: otherwise the next call would get this call's answer
                if self._server.serving or isinstance(error, SandboxUnavailable):
                    self._stop()
                raise

    def close(self) -> None:
        """Release everything. A running call in another thread raises SandboxUnavailable."""
        self._closed = True
        if server := self._server:
            server.end()
        with self._lock:
            self._stop()

    def _replace(self) -> None:
        self._stop()
        self._server = _SlotServer(self._warm, self._fork_server)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _SlotServer:
    """A slot server's process and the channel to it."""

    def __init__(self, warm: bool, fork_server: ForkServer | None) -> None:
        """Raises SandboxUnavailable."""
        self.calls = 0
        self.serving = False
        """True from the moment a call was sent until its answer has arrived."""
        try:
            self._folder = tempfile.mkdtemp(prefix="sandbox-", dir=temporary.folder())
            machine = protocol.memory_file("machine", protocol.machine(self._folder))
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox cannot make its folder: {error}") from error
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(START_SECONDS)
        self._channel = ours
        try:
            self._process: Process = fork_server.fork(theirs) if fork_server else start(theirs, warm=warm)
        except SandboxUnavailable:
            ours.close()
            os.close(machine)
            remove(self._folder)
            raise
        finally:
            theirs.close()
        try:
            self._send(b"machine", [machine])
            self._receive()
        except SandboxUnavailable:
            self.close()
            raise

    def serve(self, call: Call, layers: Mapping[str, bool], watch: Watch | None, turn: Turn | None) -> Report:
        """See `ForkServerSandbox.run`."""
        self.calls += 1
        with contextlib.ExitStack() as stack:
            log_read, log_write = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, log_read)
            descriptors = [log_write]
            try:
                result = os.memfd_create("result", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
                stack.callback(os.close, result)
                os.ftruncate(result, LENGTH.size + call.limits.result)
                fcntl.fcntl(result, fcntl.F_ADD_SEALS, _SEALS)  # the candidate can neither grow nor truncate it during the read
                descriptors = [protocol.memory_file("request", protocol.request(call)), log_write, os.dup(result)]
                for path in call.inputs.values():
                    descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except BaseException:
                _close(descriptors)
                raise
            self.serving = True
            self._send(json.dumps(protocol.order(call, layers, held=turn is not None)).encode(), descriptors)
            log = HeadAndTail(call.limits.log)
            running = stack.enter_context(contextlib.ExitStack())
            if turn is not None:
                running.enter_context(turn)
                self._signal(GO)
            lines = Lines(watch) if watch else None
            measured = self._wait(log_read, log, lines, call.limits.seconds + GRACE_SECONDS, running.close)
            self.serving = False
            return protocol.report(measured, log.text(), result, call, layers)

    def end(self) -> None:
        """Make the slot server end its call and then itself. For another thread than the one that waits for the answer."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The slot server ends what it runs when its channel closes."""
        self._channel.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        remove(self._folder)  # the slot server does it too, unless it was killed

    def _wait(
        self, log_read: int, log: HeadAndTail, lines: Lines | None, seconds: float, on_end: Callable[[], None]
    ) -> dict[str, Any]:
        """Read the log until the slot server reports the end of the call; by then every process that writes to the log is dead.

        `on_end` is called when the candidate's process has ended, which can be well before everything of it is cleaned up.
        """
        poll = select.poll()
        poll.register(log_read, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        end = time.monotonic() + seconds
        measured: dict[str, Any] | None = None
        while True:
            events = poll.poll(0 if measured else max(0.0, end - time.monotonic()) * 1000)
            if not events:
                if measured is not None:
                    return measured
                raise SandboxUnavailable(f"a call did not end within {seconds:g} s")
            for descriptor, _ in events:
                if descriptor == log_read:
                    data = os.read(log_read, 1 << 16)
                    log.add(data)
                    if lines and not lines.add(data):
                        lines = None
                        self._signal(STOP)
                    if not data:
                        poll.unregister(log_read)
                elif measured is None:
                    message = self._receive()
                    if "broken" in message:
                        raise SandboxUnavailable(f"the sandbox could not make a process ready: {message['broken']}")
                    on_end()
                    if "cause" in message:
                        measured = message
                        poll.unregister(self._channel)

    def _receive(self) -> dict[str, Any]:
        try:
            data = self._channel.recv(MAX_ORDER)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process does not answer: {error}") from error
        if not data:
            raise SandboxUnavailable("the sandbox's process has died")
        return dict(json.loads(data))

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        """Send a message; the descriptors are sent with it and closed here."""
        try:
            socket.send_fds(self._channel, [data], descriptors)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process has died: {error}") from error
        finally:
            _close(descriptors)

    def _signal(self, word: bytes) -> None:
        """Send STOP or GO."""
        with contextlib.suppress(OSError):  # if the slot server has died, the next `_receive` notices
            self._channel.send(word)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
