"""cgroup v2, where a part of its tree was given to us: memory and processes of a call counted by the kernel itself.

It is a backstop. The watchdog sees the same in /proc, but only at each of its glances; a group is limited at every moment and
is ended by one write. To be given one: `systemd-run --user --scope -p Delegate=yes evolve run ...`, or a container whose
cgroup namespace is its own and writable. Nothing is tried in a group that was not delegated: it belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import cache
from pathlib import Path

_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_CONTROLLERS = ("memory", "pids")
_SLACK = 64 << 20
"""Bytes above a call's memory and scratch: the watchdog is to be first, since it can say why."""


@cache
def delegated(mounts: tuple[str, ...] = _MOUNTS) -> str | None:
    """The folder in which groups may be made, with controllers switched on if that disturbs nobody; None if there is none."""
    for mount in map(Path, mounts):
        if (mount / "cgroup.controllers").is_file():
            own = mount / _own_group().lstrip("/")
            if os.access(own, os.W_OK) and _is_ours(own):
                with contextlib.suppress(OSError):
                    _switch_on(own)
                return str(own)
    return None


def _own_group() -> str:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "/")


def _is_ours(group: Path) -> bool:
    """Said by systemd's mark; or it is the root of a cgroup namespace, which unlike the machine's root has a type."""
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return _own_group() == "/" and (group / "cgroup.type").is_file()


def _switch_on(group: Path) -> None:
    """A group whose children are controlled may hold no process: this one moves down, if all in there are of our making."""
    there = (group / "cgroup.controllers").read_text().split()
    wanted = [name for name in _CONTROLLERS if name in there]
    if set(wanted) <= set((group / "cgroup.subtree_control").read_text().split()):
        return
    processes = (group / "cgroup.procs").read_text().split()
    if processes == [str(os.getpid())]:
        below = group / "evolve-main"
        below.mkdir(exist_ok=True)
        (below / "cgroup.procs").write_text("0")
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def make(parent: str, name: str) -> str | None:
    """A group for one worker; None where it cannot be made after all."""
    group = Path(parent, name)
    try:
        group.mkdir()
    except OSError:
        return None
    return str(group)


def join(group: str) -> str:
    """This process and all its children are counted there from now on. The controllers that count."""
    Path(group, "cgroup.procs").write_text("0")
    return " ".join(name for name in Path(group, "cgroup.controllers").read_text().split() if name in _CONTROLLERS)


def limit(group: str, memory: int, tasks: int) -> None:
    """`memory` in bytes, without swap; `tasks`: processes and threads."""
    settings = {"memory.max": memory + _SLACK, "memory.swap.max": 0, "memory.oom.group": 1, "pids.max": tasks}
    for name, value in settings.items():
        with contextlib.suppress(OSError):  # a controller that is not to be had here
            Path(group, name).write_text(str(value))


def ran_out_of_memory(group: str) -> bool:
    """Has the kernel ended a process of the group for its memory?"""
    try:
        lines = Path(group, "memory.events").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)


def remove(group: str) -> None:
    """With everything that still runs in it (Linux 5.14)."""
    with contextlib.suppress(OSError):
        Path(group, "cgroup.kill").write_text("1")
    for _ in range(1000):
        try:
            os.rmdir(group)
            return
        except FileNotFoundError:
            return
        except OSError:  # somebody in it has not quite ended
            time.sleep(0.001)
