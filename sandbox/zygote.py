"""The warm process: torch is imported here once, and each call is a fork of it. One call at a time.

Started by the trusted side with a clean environment: `python -m sandbox.zygote SOCKET`. It holds no secret and no label.
It stays single-threaded (a fork of a multi-threaded process can hang) and never touches CUDA. It also is the watchdog:
time, memory, scratch and processes of a call are seen from here, where the candidate has no say.
"""

from __future__ import annotations

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

from sandbox import scratch, worker
from sandbox.isolation import linux

POLL_SECONDS = 0.02
MANY = 4
"""Above this many processes shared pages are divided among them; else they would be counted once for each."""
MAX_PROCESSES = 16
MAX_THREADS = 1024
"""Of all processes together; a training on the largest machines has a few hundred."""


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    if "--cold" not in sys.argv:
        _warm_up()
    linux.adopt_orphans()
    linux.set_dumpable(False)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would touch, and so copy, the pages that all children share
    baseline = _resident(os.getpid(), *_OWN)
    _say(channel, {"ready": True, "baseline": baseline})
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 128)
        except ConnectionError:
            data = b""
        if not data:
            os._exit(0)
        request = _read_request(descriptors.pop(0))
        request["baseline"] = baseline
        _say(channel, _serve(request, descriptors, channel))


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
    torch.nn.functional.cross_entropy(model(torch.zeros(1, 1, 2, 2)).mean((2, 3)), torch.zeros(1, dtype=torch.long)).backward()
    optimizer.step()
    schedule.step()


def _read_request(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return dict(json.load(file))


def _serve(request: dict[str, Any], descriptors: list[int], channel: socket.socket) -> dict[str, Any]:
    """Forks the call, watches it to its end, leaves no process behind; what was measured."""
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"the zygote must be single-threaded before a fork, and has {len(threads)} threads"
    log, result, *inputs = descriptors
    status_read, status_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    zygote, began = os.getpid(), time.monotonic()
    pid = os.fork()
    if pid == 0:
        worker.live(request, [log, result, status_write, *inputs], zygote)
    os.close(status_write)
    for descriptor in descriptors:
        os.close(descriptor)
    cause = _watch(pid, request, channel, began)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    _end_orphans()
    told = os.read(status_read, worker.ENDED.size) if _has_data(status_read) else b""
    os.close(status_read)
    peak, cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
    if len(told) == worker.ENDED.size:
        status, peak, user, system = worker.ENDED.unpack(told)
        cpu = user + system
    return {
        "cause": cause or ("signal" if os.WIFSIGNALED(status) else "exit"),
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_memory": peak,
    }


def _watch(pid: int, request: Mapping[str, Any], channel: socket.socket, began: float) -> str | None:
    """Waits for the end of the call, or kills it at a limit and says which."""
    limit = request["limits"]
    folder = None if request["layers"]["namespaces"] else request["scratch"]  # a tmpfs of fixed size limits itself
    child = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(channel, select.POLLHUP | select.POLLRDHUP)
    try:
        while True:
            left = began + limit["seconds"] - time.monotonic()
            events = poll.poll(max(0.0, min(POLL_SECONDS, left)) * 1000)
            if any(fd == child for fd, _ in events):
                return None
            if events:  # the trusted side has gone
                _end_orphans()
                os._exit(0)
            cause = _limit_reached(pid, limit, folder, left, request["baseline"])
            if cause:
                _kill_all(pid)
                return cause
    finally:
        os.close(child)


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


def _end_orphans() -> None:
    """Children of the zygote after a call are that call's strays, re-parented to us: none may stay."""
    while strays := _tree(os.getpid())[1:]:
        for process in strays:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:  # never wait for one: it may have been born since we looked
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        found.append(process)
        try:
            for thread in _threads(process):
                with open(f"/proc/{process}/task/{thread}/children") as file:
                    waiting += map(int, file.read().split())
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


def _say(channel: socket.socket, facts: Mapping[str, Any]) -> None:
    try:
        channel.send(json.dumps(facts).encode())
    except (BrokenPipeError, ConnectionError):
        os._exit(0)


if struct.calcsize("P") != 8:
    raise ImportError("only 64-bit systems are supported")

if __name__ == "__main__":
    main()
