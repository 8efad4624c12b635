"""A slot with a warm zygote: the trusted side of every call."""

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

from sandbox import orders
from sandbox.isolation import levels
from sandbox.output import HeadAndTail, Lines
from sandbox.reports import report
from sandbox.sandbox import Call, Level, Report, SandboxUnavailable, Turn, Watch
from sandbox.scratch import remove
from sandbox.stem import START_SECONDS, Process, Stem, spawn
from sandbox.worker import GO, LENGTH, STOP

RECYCLE_AFTER = 300
"""Calls that one zygote serves."""
GRACE_SECONDS = 10.0
"""How long past a call's limit the zygote may take to stop it before it counts as broken."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class WarmSandbox:
    """Runs each call in a fork of a zygote, under the layers of a level. Starts its zygote when it is first needed."""

    def __init__(
        self, level: Level, layers: Mapping[str, bool] | None = None, *, warm: bool = True, stem: Stem | None = None
    ) -> None:
        """`layers`: which ones in detail, where a level can be had in several ways. `warm` false: without torch.

        `stem`: what its zygotes are forked from; without one each is an interpreter of its own.
        """
        self.level = level
        self._warm, self._stem = warm, stem
        self._layers = dict(layers or levels.LAYERS[level])
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._closed = False

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report:
        """Raises SandboxUnavailable; the next call then starts a new zygote.

        `turn` is entered when all is ready but for the candidate's code, which runs from then on, and left as soon as its
        process has ended.
        """
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            if self._zygote is None or self._zygote.calls >= RECYCLE_AFTER:
                self._replace()
            assert self._zygote is not None
            try:
                return self._zygote.serve(call, self._layers, watch, turn)
            except BaseException as error:  # an interrupt too: the answer would come when the next call waits for its own
                if self._zygote.serving or isinstance(error, SandboxUnavailable):
                    self._stop()
                raise

    def close(self) -> None:
        """A call under way in another thread raises SandboxUnavailable."""
        self._closed = True
        if zygote := self._zygote:
            zygote.end()
        with self._lock:
            self._stop()

    def _replace(self) -> None:
        self._stop()
        self._zygote = _Zygote(self._warm, self._stem)

    def _stop(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None


class _Zygote:
    """One zygote process and the channel to it."""

    def __init__(self, warm: bool, stem: Stem | None) -> None:
        self.calls = 0
        self.serving = False
        """A call was handed over, and its answer has not come."""
        try:
            self._folder = tempfile.mkdtemp(prefix="evolve-sandbox-")
            place = orders.memory_file("place", orders.place(self._folder))
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox cannot make its folder in {tempfile.gettempdir()}: {error}") from error
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(START_SECONDS)
        self._channel = ours
        try:
            self._process: Process = stem.fork(theirs) if stem else spawn(theirs, warm=warm)
        except SandboxUnavailable:
            ours.close()
            os.close(place)
            remove(self._folder)
            raise
        finally:
            theirs.close()
        try:
            self._send(b"place", [place])
            self._hear()
        except SandboxUnavailable:
            self.close()
            raise

    def serve(self, call: Call, layers: Mapping[str, bool], watch: Watch | None, turn: Turn | None) -> Report:
        self.calls += 1
        with contextlib.ExitStack() as stack:
            log_read, log_write = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, log_read)
            descriptors = [log_write]
            try:
                result = os.memfd_create("result", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
                stack.callback(os.close, result)
                os.ftruncate(result, LENGTH.size + call.limits.result)
                fcntl.fcntl(result, fcntl.F_ADD_SEALS, _SEALS)  # the child can neither grow it nor cut it under our hands
                descriptors = [orders.memory_file("request", orders.request(call)), log_write, os.dup(result)]
                for path in call.inputs.values():
                    descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except BaseException:
                _close(descriptors)
                raise
            self.serving = True
            self._send(json.dumps(orders.order(call, layers, held=turn is not None)).encode(), descriptors)
            log = HeadAndTail(call.limits.log)
            running = stack.enter_context(contextlib.ExitStack())
            if turn is not None:
                running.enter_context(turn)
                self._say(GO)
            lines = Lines(watch) if watch else None
            told = self._wait(log_read, log, lines, call.limits.seconds + GRACE_SECONDS, running.close)
            self.serving = False
            return report(told, log.text(), result, call, layers)

    def _wait(
        self, log_read: int, log: HeadAndTail, lines: Lines | None, seconds: float, ended: Callable[[], None]
    ) -> dict[str, Any]:
        """Drains the log until the zygote reports the call's end; then every writer of the log is dead.

        `ended` is called when the candidate's process is, which can be well before all that belongs to it is cleared away.
        """
        poll = select.poll()
        poll.register(log_read, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        end = time.monotonic() + seconds
        told: dict[str, Any] | None = None
        while True:
            events = poll.poll(0 if told else max(0.0, end - time.monotonic()) * 1000)
            if not events:
                if told is not None:
                    return told
                raise SandboxUnavailable(f"a call did not end within {seconds:g} s")
            for descriptor, _ in events:
                if descriptor == log_read:
                    data = os.read(log_read, 1 << 16)
                    log.add(data)
                    if lines and not lines.add(data):
                        lines = None
                        self._say(STOP)
                    if not data:
                        poll.unregister(log_read)
                elif told is None:
                    news = self._hear()
                    if "broken" in news:
                        raise SandboxUnavailable(f"the sandbox could not make a process ready: {news['broken']}")
                    ended()
                    if "cause" in news:
                        told = news
                        poll.unregister(self._channel)

    def _hear(self) -> dict[str, Any]:
        try:
            data = self._channel.recv(1 << 16)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process does not answer: {error}") from error
        if not data:
            raise SandboxUnavailable("the sandbox's process has died")
        return dict(json.loads(data))

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        """The descriptors go over and are closed here."""
        try:
            socket.send_fds(self._channel, [data], descriptors)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process has died: {error}") from error
        finally:
            _close(descriptors)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # if the zygote has died, the next to listen hears it
            self._channel.send(word)

    def end(self) -> None:
        """From another thread than the one that waits for an answer. The zygote ends its call with all strays, and itself."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The zygote ends what it runs when its channel closes."""
        self._channel.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        remove(self._folder)  # the zygote does it too, unless it was killed


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
