"""A slot with a warm zygote: the trusted side of every call."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.isolation import cgroup, levels
from sandbox.output import HeadAndTail, Lines
from sandbox.sandbox import Call, Level, Report, SandboxUnavailable, Watch
from sandbox.scratch import remove
from sandbox.worker import LENGTH, STOP

RECYCLE_AFTER = 300
"""Calls that one zygote serves."""
START_SECONDS = 120.0
GRACE_SECONDS = 10.0
"""How long past a call's limit the zygote may take to stop it before it counts as broken."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_PACKAGE = Path(__file__).resolve().parent


class WarmSandbox:
    """Runs each call in a fork of a zygote, under the layers of a level. Starts its zygote when it is first needed."""

    def __init__(self, level: Level, layers: Mapping[str, bool] | None = None, *, warm: bool = True) -> None:
        """`layers`: which ones in detail, where a level can be had in several ways. `warm` false: without torch."""
        self.level = level
        self._warm = warm
        self._layers = dict(layers or levels.LAYERS[level])
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._closed = False

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Raises SandboxUnavailable; the next call then starts a new zygote."""
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            if self._zygote is None or self._zygote.calls >= RECYCLE_AFTER:
                self._replace()
            assert self._zygote is not None
            try:
                return self._zygote.serve(call, self._layers, watch)
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
        self._zygote = _Zygote(self._warm)

    def _stop(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None


class _Zygote:
    """One zygote process and the channel to it."""

    def __init__(self, warm: bool) -> None:
        self.calls = 0
        self.serving = False
        """A call was handed over, and its answer has not come."""
        self._folder = tempfile.mkdtemp(prefix="evolve-sandbox-")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place = _memory_file("place", _place(self._folder))
        how = ([], []) if warm else (["-S"], ["--cold"])  # without torch there is no need to look for packages either
        descriptors = [str(theirs.fileno()), str(place)]
        command = [sys.executable, "-P", "-s", *how[0], "-m", "sandbox.zygote", *descriptors, *how[1]]
        try:
            self._process = subprocess.Popen(
                command,
                env=_environment(warm),
                pass_fds=[theirs.fileno(), place],
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            remove(self._folder)
            raise SandboxUnavailable(f"the sandbox's process cannot be started: {error}") from error
        finally:
            os.close(place)
            theirs.close()
        self._channel = ours
        ours.settimeout(START_SECONDS)
        try:
            self._hear()
        except SandboxUnavailable:
            self.close()
            raise

    def serve(self, call: Call, layers: Mapping[str, bool], watch: Watch | None) -> Report:
        self.calls += 1
        with contextlib.ExitStack() as stack:
            log_read, log_write = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, log_read)
            sent = stack.enter_context(contextlib.ExitStack())
            sent.callback(os.close, log_write)
            result = os.memfd_create("result", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            stack.callback(os.close, result)
            os.ftruncate(result, LENGTH.size + call.limits.result)
            fcntl.fcntl(result, fcntl.F_ADD_SEALS, _SEALS)  # the child can neither grow it nor cut it under our hands
            request = _memory_file("request", _request(call))
            sent.callback(os.close, request)
            descriptors = [request, log_write, result]
            for path in call.inputs.values():
                descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                sent.callback(os.close, descriptors[-1])
            try:
                self.serving = True
                socket.send_fds(self._channel, [json.dumps(_order(call, layers)).encode()], descriptors)
            except OSError as error:
                raise SandboxUnavailable(f"the sandbox's process has died: {error}") from error
            sent.close()
            log = HeadAndTail(call.limits.log)
            told = self._wait(log_read, log, Lines(watch) if watch else None, call.limits.seconds + GRACE_SECONDS)
            self.serving = False
            return _report(told, log.text(), result, call, layers)

    def _wait(self, log_read: int, log: HeadAndTail, lines: Lines | None, seconds: float) -> dict[str, Any]:
        """Drains the log until the zygote reports the call's end; then every writer of the log is dead."""
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
                        with contextlib.suppress(OSError):  # if the zygote has died, the next to listen hears it
                            self._channel.send(STOP)
                    if not data:
                        poll.unregister(log_read)
                elif told is None:
                    told = self._hear()
                    poll.unregister(self._channel)

    def _hear(self) -> dict[str, Any]:
        try:
            data = self._channel.recv(1 << 16)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox's process does not answer: {error}") from error
        if not data:
            raise SandboxUnavailable("the sandbox's process has died")
        return dict(json.loads(data))

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


def _environment(warm: bool) -> dict[str, str]:
    """Of the zygote, and so of all that it forks: nothing of the trusted side's own."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # some interpreters need it
    # Python's objects in malloc's heap, and that in huge pages: a fork then copies a sixth of the page tables.
    huge = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if warm else {}
    return kept | huge | {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(_PACKAGE.parent), *levels.package_folders()]),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": "/nonexistent",
        "TORCHINDUCTOR_CACHE_DIR": "/nonexistent",
    }


def _place(folder: str) -> dict[str, Any]:
    """What of this machine all calls are to see, and where the zygote may put things."""
    root = os.path.join(folder, "root")  # where a private root is mounted, seen by the child only
    os.mkdir(root)
    os.chmod(folder, 0o711)  # a child that has become nobody must reach its scratch in it
    readable = levels.readable_paths()
    whole, listed = levels.readable_around()
    return {
        "folder": folder,
        "root": root,
        "readable": readable,
        "hidden": levels.hidden_paths(),
        "whole": whole,
        "listed": listed,
        "world_readable": levels.world_readable([*readable, root]),
        "cgroup": cgroup.delegated(),
    }


def _order(call: Call, layers: Mapping[str, bool]) -> dict[str, Any]:
    """What the zygote is told of a call: nothing in it comes from a candidate."""
    gpu = call.device.startswith("cuda")
    return {
        "layers": dict(layers),
        "gpu": gpu,
        "devices": levels.gpu_devices(call.device) if gpu else [],
        "scratch_bytes": call.limits.scratch,
        "limits": {key: getattr(call.limits, key) for key in ("seconds", "memory", "scratch")},
    }


def _request(call: Call) -> dict[str, Any]:
    """What the child is told."""
    return {
        "entry": call.entry,
        "sources": dict(call.sources),
        "inputs": list(call.inputs),
        "options": dict(call.options),
        "device": "cuda:0" if call.device.startswith("cuda") else "cpu",  # it sees no other
        "threads": call.threads,
    }


def _memory_file(name: str, document: Mapping[str, Any]) -> int:
    """A document of any size, as a descriptor to hand over."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(document).encode("utf-8", "surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
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
