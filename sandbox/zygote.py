"""The warm process: torch is imported here once, and each call is a fork of it. One call at a time.

Started by the trusted side with a clean environment: `python -m sandbox.zygote SOCKET`. It holds no secret and no label.
It stays single-threaded (a fork of a multi-threaded process can hang) and never touches CUDA. It also is the watchdog:
time, memory, scratch and processes of a call are seen from here, where the candidate has no say.
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

from sandbox import pages, scratch, worker
from sandbox.isolation import linux
from sandbox.worker import NOBODY, becomes_nobody

POLL_SECONDS = 0.02
MANY = 4
"""Above this many processes shared pages are divided among them; else they would be counted once for each."""
MAX_PROCESSES = 16
MAX_THREADS = 1024
"""Of all processes together; a training on the largest machines has a few hundred."""


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    warm = "--cold" not in sys.argv
    if warm:
        _warm_up()
    linux.set_dumpable(False)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would touch, and so copy, the pages that all children share
    if warm:
        pages.collapse()
    if "--stem" in sys.argv:
        channel = _fork_zygotes(channel)
    _serve_calls(channel, warm)


def _fork_zygotes(channel: socket.socket) -> socket.socket:
    """The life of a stem: a fork for each channel that comes. Returns in the forks, with their channel."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    _tell(channel, b"ready")
    while True:
        _, descriptors = _hear(channel)
        pid = os.fork()
        theirs = socket.socket(fileno=descriptors[0])
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            channel.close()
            return theirs
        theirs.close()
        process = os.pidfd_open(pid)
        _tell(channel, b"%d" % pid, process)
        os.close(process)


def _serve_calls(channel: socket.socket, ahead: bool) -> None:
    """The life of a zygote. `ahead`: the process of the next call is made ready while one runs."""
    linux.adopt_orphans()
    baseline = _resident(os.getpid(), *_OWN)
    _say(channel, {"ready": True, "baseline": baseline})
    spare: Worker | None = None
    while True:
        word, descriptors = _hear(channel)
        if word in (worker.STOP, worker.GO):
            continue  # it came when its call had just ended
        request = _read_request(descriptors[0])
        profile = {key: request[key] for key in PROFILE}
        if spare is None or spare.profile != profile:
            if spare is not None:
                spare.end()
            spare = Worker(profile)
        serving, spare = spare, None
        if becomes_nobody(profile):
            os.chown(request["scratch"], NOBODY, NOBODY)
        began = time.monotonic()
        serving.hand_over(descriptors, held=request["held"])
        if ahead:
            spare = Worker(profile)  # made ready while this call runs
        _say(channel, _serve(serving, request, channel, began, baseline, spare))


PROFILE = ("layers", "readable", "hidden", "world_readable", "devices", "gpu", "base", "scratch_bytes")
"""What of a request a worker takes on before the call has come."""


class Worker:
    """A forked process that is ready for one call of its profile, or says why it cannot be."""

    def __init__(self, profile: dict[str, Any]) -> None:
        threads = os.listdir("/proc/self/task")
        assert len(threads) == 1, f"the zygote must be single-threaded before a fork, and has {len(threads)} threads"
        self.profile = profile
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        zygote = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            worker.live(profile, theirs, status, zygote)
        theirs.close()
        os.close(status)

    def hand_over(self, descriptors: list[int], *, held: bool) -> None:
        """`descriptors`: request, log, result, inputs; closed here. What kept the worker from getting ready goes to the log.

        If the call is `held`, no code of the candidate's runs before `start`.
        """
        if held:
            start, self._start = os.pipe2(os.O_CLOEXEC)
            descriptors = [*descriptors[:3], start, *descriptors[3:]]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died before; `_serve` sees how
            socket.send_fds(self._channel, [b"call"], descriptors)
        self._log = os.dup(descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)

    def start(self) -> None:
        """Of a call that was held."""
        with contextlib.suppress(BrokenPipeError):  # it has died
            os.write(self._start, b"1")
        os.close(self._start)

    def end(self) -> None:
        """A spare that is not needed any more."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._channel.close()
        os.close(self.status)

    def reap(self) -> tuple[int, int, float]:
        """(wait status, peak memory in bytes, CPU seconds) of the process that ran the candidate. Waits for its end."""
        _, status, usage = os.wait4(self.pid, 0)
        peak, cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
        told = os.read(self.status, worker.ENDED.size) if _has_data(self.status) else b""
        if len(told) == worker.ENDED.size:
            status, peak, user, system = worker.ENDED.unpack(told)
            cpu = user + system
        if _has_data(self._channel.fileno()):
            with contextlib.suppress(ConnectionResetError):
                os.write(self._log, self._channel.recv(1 << 16))
        os.close(self._log)
        os.close(self.status)
        self._channel.close()
        return status, peak, cpu


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
    if os.path.exists("/dev/nvidiactl"):
        return  # what follows counts the GPUs: that starts CUDA's driver, which then cannot start in a fork any more
    loss.backward()
    optimizer.step()
    schedule.step()


def _read_request(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return dict(json.load(file))


def _serve(
    serving: Worker, request: dict[str, Any], channel: socket.socket, began: float, baseline: int, spare: Worker | None
) -> dict[str, Any]:
    """Watches the call to its end, leaves no process of it behind; what was measured."""
    cause = None
    if request["held"]:
        cause, began = _hold(serving, channel), time.monotonic()
    cause = cause or _watch(serving, request, channel, began, baseline)
    status, peak, cpu = serving.reap()
    seconds = time.monotonic() - began
    _end_orphans(spare)
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
    found = {fd for fd, _ in poll.poll()}
    os.close(child)
    stopped = child not in found and _asked(channel) == worker.STOP
    if stopped:
        _kill_all(serving.pid)
    serving.start()
    return "stopped" if stopped else None


def _watch(
    serving: Worker, request: Mapping[str, Any], channel: socket.socket, began: float, baseline: int
) -> str | None:
    """Waits for the end of the call, or kills it at a limit or when asked to, and says which."""
    limit, apart = request["limits"], request["layers"]["namespaces"]
    folder = None if apart else request["scratch"]  # a tmpfs of fixed size limits itself
    child = os.pidfd_open(serving.pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(channel, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
    if apart:
        poll.register(serving.status, select.POLLIN)
    try:
        while True:
            left = began + limit["seconds"] - time.monotonic()
            found = {fd for fd, _ in poll.poll(max(0.0, min(POLL_SECONDS, left)) * 1000)}
            if child in found:
                return None
            if serving.status in found:  # the candidate's process has ended; its namespaces take their time
                poll.unregister(serving.status)
                _say(channel, {"ended": True})
            cause = "stopped" if channel.fileno() in found and _asked(channel) == worker.STOP else None
            cause = cause or _limit_reached(serving.pid, limit, folder, left, baseline)
            if cause:
                _kill_all(serving.pid)
                return cause
    finally:
        os.close(child)


def _asked(channel: socket.socket) -> bytes:
    """What the trusted side says while a call is there. If it has gone, everything ends."""
    try:
        word = channel.recv(16)
    except ConnectionError:
        word = b""
    if not word:
        _end_orphans(None)
        os._exit(0)
    return word


def _limit_reached(pid: int, limit: Mapping[str, Any], folder: str | None, left: float, baseline: int) -> str | None:
    if left <= 0:
        return "timeout"
    tree = _tree(pid)
    if len(tree) > MAX_PROCESSES or sum(len(_threads(process)) for process in tree) > MAX_THREADS:
        return "processes"
    if _memory(tree, baseline) > limit["memory"]:
        return "memory"
    if folder is not None and scratch.is_over(folder, limit["scratch"]):
        return "disk"
    return None


def _kill_all(pid: int) -> None:
    """The call's first process and everything below it; who escapes into orphanage comes to us."""
    for process in reversed(_tree(pid)):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _end_orphans(spare: Worker | None) -> None:
    """Children of the zygote after a call, but for the spare, are that call's strays, re-parented to us: none may stay."""
    kept = spare.pid if spare else None
    while strays := _tree(os.getpid(), without=kept)[1:]:
        for process in strays:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in strays:  # never wait for one: it may not be a child of ours yet
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
        time.sleep(0.001)


def _tree(pid: int, without: int | None = None) -> list[int]:
    """The process and its descendants, but for `without` and its own."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        try:
            for thread in _threads(process):
                with open(f"/proc/{process}/task/{thread}/children") as file:
                    waiting += (child for child in map(int, file.read().split()) if child != without)
        except OSError:
            continue  # it has just ended
    return found


def _threads(process: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/task")
    except OSError:
        return []


# Page tables count: memory that is only read has no resident page of its own, but a table.
_OWN = ("status", ("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:"))
_SHARE = ("smaps_rollup", ("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))


def _memory(processes: list[int], baseline: int) -> int:
    """Bytes that the call has taken beyond what it shares with the zygote, whose pages each fork shows as its own."""
    if len(processes) > MANY:
        return sum(_resident(process, *_SHARE) for process in processes) - baseline
    return sum(max(0, _resident(process, *_OWN) - baseline) for process in processes)


def _resident(process: int, name: str, keys: tuple[str, ...]) -> int:
    """Bytes. A process whose first thread has ended shows its memory only in the other threads."""
    for thread in _threads(process):
        try:
            with open(f"/proc/{process}/task/{thread}/{name}") as file:
                values = [int(line.split()[1]) for line in file if line.startswith(keys)]
        except OSError:
            continue
        if values:
            return sum(values) * 1024
    return 0


def _has_data(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _hear(channel: socket.socket) -> tuple[bytes, list[int]]:
    """What the trusted side sends; when it has gone, this process ends, and with it what was forked of it for a call."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 128)
    except ConnectionError:
        data = b""
    if not data:
        os._exit(0)
    return data, descriptors


def _say(channel: socket.socket, facts: Mapping[str, Any]) -> None:
    _tell(channel, json.dumps(facts).encode())


def _tell(channel: socket.socket, data: bytes, *descriptors: int) -> None:
    try:
        socket.send_fds(channel, [data], descriptors)
    except (BrokenPipeError, ConnectionError):
        os._exit(0)


if struct.calcsize("P") != 8:
    raise ImportError("only 64-bit systems are supported")

if __name__ == "__main__":
    main()
