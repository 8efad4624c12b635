"""From what a call left behind to what is said of it. Everything that the child could write is taken as a claim."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox import devices
from sandbox.sandbox import Call, Report, SandboxUnavailable
from sandbox.worker import LENGTH


def report(told: Mapping[str, Any], text: str, result: int, call: Call, layers: Mapping[str, bool]) -> Report:
    """`told`: what was measured; `text`: the whole log; `result`: a descriptor. No process of the call is left.

    Raises SandboxUnavailable if a layer was not in force.
    """
    head, _, log = text.partition("\n")
    in_force = tuple(name for name in head.split(",") if name)
    cause, status = told["cause"], told["status"]
    if cause in ("exit", "signal"):
        _check_layers(in_force, layers, text)
    (length,) = LENGTH.unpack(os.pread(result, LENGTH.size, 0).ljust(LENGTH.size, b"\0"))
    data = b""
    if length > call.limits.result + 1:
        cause = "result" if cause == "exit" else cause
    elif length and cause == "exit" and status == 0:
        data = _read(result, length - 1)
        cause = cause if len(data) == length - 1 else "result"
    if cause == "exit" and status and call.device != "cpu" and devices.failed(log):
        cause = "device"
    return Report(
        cause=cause,
        status=status,
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        peak_memory=told["peak_memory"],
        result=data if cause == "exit" else b"",
        log=log,
        layers=in_force,
    )


def _read(descriptor: int, length: int) -> bytes:
    """At most `length` bytes; fewer if the file was cut."""
    data = b""
    while len(data) < length and (more := os.pread(descriptor, length - len(data), LENGTH.size + len(data))):
        data += more
    return data


def _check_layers(in_force: Sequence[str], layers: Mapping[str, bool], text: str) -> None:
    """The child says what it took upon itself before any candidate code ran; less than asked for is the machine's fault."""
    words = {name.split(" ")[0] for name in in_force}
    missing = [name for name, wanted in layers.items() if wanted and name not in words]
    if missing:
        raise SandboxUnavailable(f"the layer {missing[0]} could not be set up: {text.strip()[-400:]}")
