"""Entry functions that try what a candidate must not be able to do, and so prove a level of isolation.

This is trusted code: where an attempt succeeds it does no harm.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox.inside.call import RunningCall

ALLOWED = "allowed"
"""The answer of a canary that was not refused."""
WORKS = "works"
"""First word of the answer of `cuda` where CUDA starts."""

TRIED = {
    "read": "read a file of the user's",
    "environment": "read the environment of the process that holds the keys",
    "write": "write a file beside it",
    "connect": "connect to a port of this machine",
    "signal": "signal the process that holds the keys",
    "fork": "start a process",
}
"""What `attempt` tries: name of the canary -> what it does."""


def attempt(call: RunningCall) -> bytes:
    """Try everything in `TRIED`. Return JSON: canary -> `refused: ...` or `allowed`.

    Options: `secret` (a file), `port` (of a listener), `pid` (of the process that holds the keys).
    """
    secret, port, pid = call.options["secret"], call.options["port"], call.options["pid"]
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: Path(secret).read_bytes(),
        "environment": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
        "write": lambda: Path(secret).with_name("written").write_bytes(b"x"),
        "connect": lambda: socket.socket().connect(("127.0.0.1", port)),
        "signal": lambda: os.kill(pid, 0),
        "fork": _fork,
    }
    assert attempts.keys() == TRIED.keys()
    return json.dumps({name: _try(action) for name, action in attempts.items()}).encode()


def _try(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return f"refused: {error.strerror or error}"
    return ALLOWED


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def cuda(call: RunningCall) -> bytes:
    """Start CUDA on the call's GPU and open the device nodes of the others (option `others`).

    Return JSON: `cuda` -> `works: ...` or `fails: ...`, and each device node -> `refused: ...` or `allowed`.
    """
    answers = {"cuda": _use_cuda()}
    for node in call.options["others"]:
        answers[node] = _try(partial(os.open, node, os.O_RDWR))
    return json.dumps(answers).encode()


def _use_cuda() -> str:
    """Call the driver's library until it has a context and some memory: a working nvidia-smi proves nothing."""
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
