"""Puts the isolation layers on the process of a call. Only the limits follow later, because each call has its own.

Two dictionaries come from the slot server. `profile`: layers, devices, gpu, locks, scratch_bytes, readable, world_readable.
`machine`: what candidates may see of this machine, and this process's own folders (`scratch` is None if it has a private root).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.inside.channel import ENDED, STATUS
from sandbox.isolation import cgroup, landlock, linux, namespaces, seccomp

NOBODY = 65534

_SYSTEM_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random",
    "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
)  # fmt: skip
_GPU_FILES = ("/proc/driver/nvidia", "/sys")


def put_on(profile: Mapping[str, Any], machine: Mapping[str, Any], channel: socket.socket) -> tuple[str, ...]:
    """Put on every layer except the limits; return the names of those in force.

    With namespaces this returns in a grandchild of the calling process.
    """
    in_force: tuple[str, ...] = ()
    if machine["cgroup"]:
        in_force += (f"cgroup {cgroup.join(machine['cgroup'])}".strip(),)
    if profile["layers"]["namespaces"]:
        in_force += _enter_namespaces(profile, machine, channel)
    else:
        in_force += _drop_privileges(profile, machine)
    os.chdir(machine["scratch"] or namespaces.SCRATCH)
    if profile["layers"]["landlock"]:
        in_force += (f"landlock {_restrict_paths(profile, machine)}",)
    if profile["layers"]["seccomp"]:
        seccomp.restrict(gpu=profile["gpu"], locks=profile["locks"])
        in_force += ("seccomp",)
    return in_force


def becomes_nobody(profile: Mapping[str, Any], machine: Mapping[str, Any]) -> bool:
    """Whether the candidate will run as the user `nobody`, so that its scratch folder must belong to that user."""
    alone = os.geteuid() == 0 and not profile["layers"]["namespaces"]
    readable = bool(machine["world_readable"] and profile["world_readable"])
    return alone and _is_restricted(profile) and readable and linux.can_become(NOBODY)


def _enter_namespaces(profile: Mapping[str, Any], machine: Mapping[str, Any], channel: socket.socket) -> tuple[str, ...]:
    """Fork twice and return only in the last process. The first waits outside; the second is init of the new pid namespace."""
    root = machine["root"]
    namespaces.enter()
    also = [path for path in profile["readable"] if not _is_below(path, machine["readable"])]
    readable = [*machine["readable"], *also, *(_GPU_FILES if profile["gpu"] else ("/sys/devices/system/cpu",))]
    hidden = [path for path in machine["hidden"] if path not in profile["readable"]]
    if not profile["layers"]["landlock"]:  # Landlock closes packages in less time than so many mounts take
        hidden += [path for path in machine["closed"] if not _is_below(path, profile["readable"])]
    namespaces.build_root(root, readable, hidden, profile["devices"], profile["scratch_bytes"])
    init = os.fork()
    if init:
        os.close(STATUS)
        channel.close()
        _, status = os.waitpid(init, 0)
        os._exit(0 if status == 0 else 72)
    linux.set_name("evolve-init")
    linux.die_with_parent()
    linux.set_dumpable(False)
    # Only a GPU's driver writes to /proc: the names of its threads. Without Landlock there is no /proc at all, because through
    # /proc any file that is open for reading can be opened for writing, and root can change the kernel's settings.
    proc = profile["layers"]["landlock"] and namespaces.mount_proc(root, writable=profile["gpu"])
    namespaces.change_root(root)
    candidate = os.fork()
    if candidate == 0:
        linux.set_name("evolve-cand")
        linux.set_dumpable(True)
        os.close(STATUS)
        linux.drop_capabilities()
        return "namespaces", "own /proc" if proc else "no /proc", "no capabilities"
    channel.close()
    while True:
        ended, status, usage = os.wait4(-1, 0)
        if ended == candidate:
            break
    os.write(STATUS, ENDED.pack(status, usage.ru_maxrss * 1024, usage.ru_utime, usage.ru_stime))
    os._exit(0)  # the end of init ends every process of the namespace


def _drop_privileges(profile: Mapping[str, Any], machine: Mapping[str, Any]) -> tuple[str, ...]:
    """Give up root's rights. Without namespaces, as in a container, become the user `nobody` if it can read the interpreter."""
    linux.set_name("evolve-cand")
    os.close(STATUS)
    if os.geteuid() != 0 or not _is_restricted(profile):
        return ()
    if becomes_nobody(profile, machine):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    linux.drop_capabilities()
    linux.die_with_parent()  # a change of uid clears it
    linux.set_dumpable(True)
    return ("no capabilities",) if os.geteuid() == 0 else ("nobody", "no capabilities")


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _is_restricted(profile: Mapping[str, Any]) -> bool:
    return bool(profile["layers"]["landlock"] or profile["layers"]["seccomp"])


def _restrict_paths(profile: Mapping[str, Any], machine: Mapping[str, Any]) -> int:
    """Apply Landlock; return the version in force."""
    scratch = machine["scratch"]
    own = f"/proc/{os.getpid()}"
    readable = [*machine["whole" if scratch else "private"], *profile["readable"], *_SYSTEM_FILES]
    readable += [own] if scratch else ["/proc", "/dev"]  # a private root has its own
    listed = ["/"] if scratch is None else machine["listed"]
    if profile["gpu"]:
        readable += _GPU_FILES
    named = [f"{own}/task"] if profile["gpu"] else []  # a driver that cannot name its threads does not start
    writable = [namespaces.SCRATCH, "/dev/shm"] if scratch is None else [scratch]
    devices = ["/dev/null", *profile["devices"]]
    # A tmpfs of fixed size needs no watching; an ordinary folder is watched by what is visible in it.
    return landlock.restrict(readable, writable, devices, listed, named, removable=scratch is None)
