"""What the trusted side says to a zygote: once of the machine, and of each call what the zygote and what the child must know."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sandbox.isolation import cgroup, levels
from sandbox.sandbox import Call


def place(folder: str) -> dict[str, Any]:
    """What of this machine all calls are to see, and the folder in which the zygote may put things."""
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


def order(call: Call, layers: Mapping[str, bool], *, held: bool) -> dict[str, Any]:
    """For the zygote: nothing in it comes from a candidate. `held`: the call is to wait for its start."""
    gpu = call.device.startswith("cuda")
    also = [str(path) for path in call.readable]
    return {
        "readable": also,
        "world_readable": levels.world_readable(also),
        "layers": dict(layers),
        "gpu": gpu,
        "devices": levels.gpu_devices(call.device) if gpu else [],
        "scratch_bytes": call.limits.scratch,
        "limits": {key: getattr(call.limits, key) for key in ("seconds", "memory", "scratch")},
        "held": held,
    }


def request(call: Call) -> dict[str, Any]:
    """For the child."""
    return {
        "entry": call.entry,
        "sources": dict(call.sources),
        "inputs": list(call.inputs),
        "options": dict(call.options),
        "device": "cuda:0" if call.device.startswith("cuda") else "cpu",  # it sees no other
        "threads": call.threads,
    }


def memory_file(name: str, document: Mapping[str, Any]) -> int:
    """A document of any size, as a descriptor to hand over."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(document).encode("utf-8", "surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
