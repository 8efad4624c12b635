"""A slot with a warm zygote: the trusted side of every call."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox import devices
from sandbox.isolation import levels
from sandbox.output import HeadAndTail, Lines
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
        self._folder = tempfile.mkdtemp(prefix="evolve-root-")  # where a private root is mounted, seen by the child only
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process: Process = stem.fork(theirs) if stem else spawn(theirs, warm=warm)
        except SandboxUnavailable:
            ours.close()
            os.rmdir(self._folder)
            raise
        finally:
            theirs.close()
        self._channel = ours
        ours.settimeout(START_SECONDS)
        try:
            self._baseline = int(self._hear()["baseline"])
        except SandboxUnavailable:
            self.close()
            raise

    def serve(self, call: Call, layers: Mapping[str, bool], watch: Watch | None, turn: Turn | None) -> Report:
        self.calls += 1
        with contextlib.ExitStack() as stack:
            scratch = tempfile.mkdtemp(prefix="evolve-scratch-")
            stack.callback(remove, scratch)
            log_read, log_write = os.pipe2(os.O_CLOEXEC)
            result = os.memfd_create("result", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            request = _request(call, layers, self._folder, scratch, self._baseline, held=turn is not None)
            descriptors = [request, log_write, result]
            stack.callback(os.close, log_read)
            sent = stack.enter_context(contextlib.ExitStack())
            for descriptor in descriptors:
                if descriptor != result:
                    sent.callback(os.close, descriptor)
            stack.callback(os.close, result)
            os.ftruncate(result, LENGTH.size + call.limits.result)
            fcntl.fcntl(result, fcntl.F_ADD_SEALS, _SEALS)  # the child can neither grow it nor cut it under our hands
            for path in call.inputs.values():
                descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                sent.callback(os.close, descriptors[-1])
            try:
                self.serving = True
                socket.send_fds(self._channel, [b"call"], descriptors)
            except OSError as error:
                raise SandboxUnavailable(f"the sandbox's process has died: {error}") from error
            sent.close()
            log = HeadAndTail(call.limits.log)
            running = stack.enter_context(contextlib.ExitStack())
            if turn is not None:
                running.enter_context(turn)
                self._say(GO)
            lines = Lines(watch) if watch else None
            told = self._wait(log_read, log, lines, call.limits.seconds + GRACE_SECONDS, running.close)
            self.serving = False
            return _report(told, log.text(), result, call, layers)

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
        shutil.rmtree(self._folder, ignore_errors=True)


def _request(call: Call, layers: Mapping[str, bool], base: str, scratch: str, baseline: int, *, held: bool) -> int:
    """The request as a memory file: sources can be larger than a message."""
    gpu = call.device.startswith("cuda")
    readable = levels.readable_paths()
    whole, listed = levels.readable_around()
    document = {
        "entry": call.entry,
        "sources": dict(call.sources),
        "inputs": list(call.inputs),
        "options": dict(call.options),
        "limits": {k: getattr(call.limits, k) for k in ("seconds", "memory", "result", "scratch")},
        "device": "cuda:0" if gpu else "cpu",
        "gpu": gpu,
        "devices": levels.gpu_devices(call.device) if gpu else [],
        "threads": call.threads,
        "layers": dict(layers),
        "readable": readable,
        "hidden": levels.hidden_paths(),
        "whole": whole,
        "listed": listed,
        "world_readable": levels.world_readable(readable),
        "base": base,
        "baseline": baseline,
        "scratch_bytes": call.limits.scratch,
        "scratch": scratch,
        "held": held,
    }
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(document).encode("utf-8", "surrogatepass"))
    return descriptor


def _report(told: Mapping[str, Any], text: str, result: int, call: Call, layers: Mapping[str, bool]) -> Report:
    head, _, log = text.partition("\n")
    in_force = tuple(name for name in head.split(",") if name)
    cause, status = told["cause"], told["status"]
    if cause in ("exit", "signal"):
        _check_layers(in_force, layers, text)
    (length,) = LENGTH.unpack(os.pread(result, LENGTH.size, 0))
    data = b""
    if length > call.limits.result + 1:
        cause = "result" if cause == "exit" else cause
    elif length and cause == "exit" and status == 0:
        data = os.pread(result, length - 1, LENGTH.size)
        while len(data) < length - 1:
            data += os.pread(result, length - 1 - len(data), LENGTH.size + len(data))
    if cause == "exit" and status and call.device != "cpu" and devices.failed(log):
        cause = "device"
    return Report(
        cause=cause,
        status=status,
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        peak_memory=told["peak_memory"],
        result=data,
        log=log,
        layers=in_force,
    )


def _check_layers(in_force: Sequence[str], layers: Mapping[str, bool], text: str) -> None:
    """The child says what it took upon itself before any candidate code ran; less than asked for is the machine's fault."""
    words = {name.split(" ")[0] for name in in_force}
    missing = [name for name, wanted in layers.items() if wanted and name not in words]
    if missing:
        raise SandboxUnavailable(f"the layer {missing[0]} could not be set up: {text.strip()[-400:]}")
