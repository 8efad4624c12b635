"""What a candidate must not be able to do, really tried: the entry of the calls by which a level of isolation is proven.

Trusted code: it only tries, and harms nothing where it succeeds.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox.child import Child

ALLOWED = "allowed"
WORKS = "works"


TRIED = {
    "read": "read a file of the user's",
    "environment": "read the environment of the process that holds the keys",
    "write": "write a file beside it",
    "connect": "connect to a port of this machine",
    "signal": "signal the process that holds the keys",
    "fork": "start a process",
}
"""What `attempt` tries, by name."""


def attempt(child: Child) -> bytes:
    """JSON: canary -> `refused: ...` or `allowed`. Options: `secret` (a file), `port` (of a listener), `pid` (a process)."""
    secret, port, pid = child.options["secret"], child.options["port"], child.options["pid"]
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: Path(secret).read_bytes(),
        "environment": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
        "write": lambda: Path(secret).with_name("written").write_bytes(b"x"),
        "connect": lambda: socket.socket().connect(("127.0.0.1", port)),
        "signal": lambda: os.kill(pid, 0),
        "fork": _fork,
    }
    assert attempts.keys() == TRIED.keys()
    return json.dumps({name: _tried(deed) for name, deed in attempts.items()}).encode()


def _tried(deed: Callable[[], object]) -> str:
    try:
        deed()
    except OSError as error:
        return f"refused: {error.strerror or error}"
    return ALLOWED


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def cuda(child: Child) -> bytes:
    """JSON of the same form for the GPU of the call: `cuda` is `works: ...` or `fails: ...`. Options: `others` (device nodes)."""
    told = {"cuda": _use_cuda()}
    for node in child.options["others"]:
        told[node] = _tried(partial(os.open, node, os.O_RDWR))
    return json.dumps(told).encode()


def _use_cuda() -> str:
    """By the driver's own library, as far as a context and some memory: that nvidia-smi works proves nothing."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"fails: {error}"
    count, device, context, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    for name, *arguments in (
        ("cuInit", ctypes.c_uint(0)),
        ("cuDeviceGetCount", ctypes.byref(count)),
        ("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0)),
        ("cuDevicePrimaryCtxRetain", ctypes.byref(context), device),
        ("cuCtxSetCurrent", context),
        ("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(1 << 20)),
    ):
        if code := getattr(driver, name)(*arguments):
            return f"fails: {name} gives CUDA error {code}"
    return f"{WORKS}: {count.value} device{'s' if count.value != 1 else ''} seen"
