"""Starts slot servers: each is a new interpreter, or a fork of the one fork server that has imported torch for all of them.

With a fork server, seconds of import and some 150 MiB of memory are paid once for any number of slot servers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from typing import Protocol

from sandbox.isolation import levels
from sandbox.sandbox import SandboxUnavailable

START_SECONDS = 120.0
"""How long a process may take until it reports that it is ready; long enough to load torch from a cold disk."""


class Process(Protocol):
    """The interface of a slot server's process; `subprocess.Popen` has it."""

    pid: int

    def wait(self, timeout: float | None = None) -> object:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        ...

    def kill(self) -> None: ...


def command(channel: int, *, warm: bool, fork_server: bool) -> list[str]:
    """Return the command line of a fork server or, if `fork_server` is false, of a slot server. `channel`: its descriptor."""
    packages = [] if warm else ["-S"]  # without torch there is no need to look for packages
    flags = [*([] if warm else ["--cold"]), *(["--fork-server"] if fork_server else [])]
    return [*levels.python("sandbox.launch.fork_server", *packages), str(channel), *flags]


def start(channel: socket.socket, *, warm: bool = True, fork_server: bool = False) -> Process:
    """Start a new interpreter with a clean environment: a slot server, or the fork server. `warm` false: without torch.

    Raises SandboxUnavailable.
    """
    try:
        return subprocess.Popen(
            command(channel.fileno(), warm=warm, fork_server=fork_server),
            env=levels.environment(),
            pass_fds=[channel.fileno()],
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxUnavailable(f"the sandbox's process cannot be started: {error}") from error


class ForkServer:
    """One warm process from which slot servers are forked. It starts to warm up at once; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._ready = False
        with contextlib.suppress(SandboxUnavailable):  # `fork` tries again and reports it
            self._start()

    def fork(self, channel: socket.socket) -> Process:
        """Fork a slot server on this channel. Replace a fork server that has died, once. Raises SandboxUnavailable."""
        with self._lock:
            try:
                return self._fork(channel)
            except SandboxUnavailable:
                self._stop()
                return self._fork(channel)

    def close(self) -> None:
        """End the fork server; its slot servers live on. May be called twice, and while another thread waits in `fork`."""
        self._closed = True
        if channel := self._channel:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._stop()

    def _fork(self, channel: socket.socket) -> Process:
        if self._closed:
            raise SandboxUnavailable("the sandbox was closed")
        if self._channel is None:
            self._start()
        assert self._channel is not None
        try:
            if not self._ready:
                self._ready = bool(self._channel.recv(64))
            socket.send_fds(self._channel, [b"fork"], [channel.fileno()])
            pid, descriptors, _, _ = socket.recv_fds(self._channel, 64, 1)
        except OSError as error:
            raise SandboxUnavailable(f"the process that sandboxes are forked from does not answer: {error}") from error
        if not descriptors:
            raise SandboxUnavailable("the process that sandboxes are forked from has died")
        return _ForkedProcess(int(pid), descriptors[0])

    def _start(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(START_SECONDS)
        with theirs:
            self._process = start(theirs, fork_server=True)

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None
        self._ready = False


class _ForkedProcess:
    """A process that is not a child of this one. It is held by a pidfd, so that its number can never mean another process."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor = pid, descriptor

    def wait(self, timeout: float | None = None) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._descriptor)
