"""Makes the messages that the trusted side sends to the processes of a call, and turns their answers into a `Report`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.inside.channel import LENGTH
from sandbox.isolation import cgroup, levels
from sandbox.pool import gpus
from sandbox.sandbox import Call, Report, SandboxUnavailable


def machine(folder: str) -> dict[str, Any]:
    """Return what every call may see of this machine, and the folder that the slot server may use. It is sent once.

    Raises OSError, and SandboxUnavailable if the home folder lies where candidates must be able to read.
    """
    root = os.path.join(folder, "root")  # where a private root is mounted, visible to the call's process only
    os.mkdir(root)
    os.chmod(folder, 0o711)  # a process that has become the user `nobody` must reach its scratch folder in it
    readable = levels.readable_paths()
    whole, listed = levels.readable_around()
    return {
        "folder": folder,
        "root": root,
        "readable": readable,
        "hidden": [*levels.hidden_paths(), *levels.other_trees()],
        "closed": levels.closed_packages(),
        "private": levels.readable_in_private_root(),
        "whole": whole,
        "listed": listed,
        "world_readable": levels.world_readable([*readable, root]),
        "cgroup": cgroup.delegated(),
    }


def order(call: Call, layers: Mapping[str, bool], *, held: bool) -> dict[str, Any]:
    """Return what the slot server needs to know of a call; nothing in it comes from a candidate. `held`: wait for its start."""
    gpu = call.device.startswith("cuda")
    also = [str(path) for path in call.readable]
    return {
        "readable": also,
        "world_readable": levels.world_readable(also),
        "layers": dict(layers),
        "gpu": gpu,
        "locks": call.locks or gpu,
        "devices": levels.gpu_devices(call.device) if gpu else [],
        "scratch_bytes": call.limits.scratch,
        "limits": {key: getattr(call.limits, key) for key in ("seconds", "memory", "scratch")},
        "held": held,
    }


def request(call: Call) -> dict[str, Any]:
    """Return what the process of a call needs to know of it."""
    return {
        "entry": call.entry,
        "sources": dict(call.sources),
        "inputs": list(call.inputs),
        "options": dict(call.options),
        "device": "cuda:0" if call.device.startswith("cuda") else "cpu",  # it sees no other
        "threads": call.threads,
    }


def memory_file(name: str, document: Mapping[str, Any]) -> int:
    """Return a JSON document of any size as a descriptor to hand over."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(document).encode("utf-8", "surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def report(measured: Mapping[str, Any], output: str, result: int, call: Call, layers: Mapping[str, bool]) -> Report:
    """Return the report of a call of which no process is left. Everything that its process could write is taken as a claim.

    `measured`: the slot server's values; `output`: the whole log; `result`: a descriptor. Raises SandboxUnavailable if a layer
    was not in force.
    """
    head, _, log = output.partition("\n")
    in_force = tuple(name for name in head.split(",") if name)
    cause, status = measured["cause"], measured["status"]
    if cause in ("exit", "signal"):
        _check_layers(in_force, layers, output)
    (length,) = LENGTH.unpack(os.pread(result, LENGTH.size, 0).ljust(LENGTH.size, b"\0"))
    data = b""
    if length > call.limits.result + 1:
        cause = "result" if cause == "exit" else cause
    elif length and cause == "exit" and status == 0:
        data = _read(result, length - 1)
        cause = cause if len(data) == length - 1 else "result"
    if cause == "exit" and status and call.device != "cpu" and gpus.failed(log):
        cause = "device"
    return Report(
        cause=cause,
        status=status,
        seconds=measured["seconds"],
        cpu_seconds=measured["cpu_seconds"],
        peak_memory=measured["peak_memory"],
        result=data if cause == "exit" else b"",
        log=log,
        layers=in_force,
    )


def _read(descriptor: int, length: int) -> bytes:
    """Return at most `length` bytes of the result; fewer if the file was truncated."""
    data = b""
    while len(data) < length and (more := os.pread(descriptor, length - len(data), LENGTH.size + len(data))):
        data += more
    return data


_IN_ORDER = ("namespaces", "landlock", "seccomp")
"""Layers in the order in which they are set up."""


def _check_layers(in_force: Sequence[str], layers: Mapping[str, bool], output: str) -> None:
    """Return the layers that the process reported before any candidate code ran. Fewer than ordered is the machine's fault."""
    words = {name.split(" ")[0] for name in in_force}
    missing = [name for name, wanted in layers.items() if wanted and name not in words]
    if missing:
        first = next((name for name in _IN_ORDER if name in missing), missing[0])
        raise SandboxUnavailable(f"the layer {first} could not be set up: {_last_line(output)}")


def _last_line(output: str) -> str:
    """Of a traceback: the error itself."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it ended without a word")[-400:]
