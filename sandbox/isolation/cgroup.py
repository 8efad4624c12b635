"""cgroup v2: the kernel counts and limits memory and processes of a call, if part of the cgroup tree is delegated to this user.

This is a backstop. The supervisor reads the same values from /proc, but only at intervals; a group is limited at every moment
and is ended by one write. To get a delegated group: `systemd-run --user --scope -p Delegate=yes evolve run ...`, or a container
with a writable cgroup namespace of its own. A group that was not delegated belongs to another program and is left alone.
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
"""Bytes above a call's memory and scratch: the supervisor should act first, since it can report the cause."""


@cache
def delegated(mounts: tuple[str, ...] = _MOUNTS) -> str | None:
    """Return the folder in which groups may be made, or None. Switch controllers on if no other program is affected."""
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
    """Whether the group has systemd's mark, or is the root of a cgroup namespace, which unlike the machine's root has a type."""
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return _own_group() == "/" and (group / "cgroup.type").is_file()


def _switch_on(group: Path) -> None:
    """Enable the controllers. A group with controlled subgroups may hold no process, so this one moves down if it is alone."""
    available = (group / "cgroup.controllers").read_text().split()
    wanted = [name for name in _CONTROLLERS if name in available]
    if set(wanted) <= set((group / "cgroup.subtree_control").read_text().split()):
        return
    processes = (group / "cgroup.procs").read_text().split()
    if processes == [str(os.getpid())]:
        below = group / "evolve-main"
        below.mkdir(exist_ok=True)
        (below / "cgroup.procs").write_text("0")
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def make(parent: str, name: str) -> str | None:
    """Make a group for the process of one call; return None if that fails."""
    group = Path(parent, name)
    try:
        group.mkdir()
    except OSError:
        return None
    return str(group)


def join(group: str) -> str:
    """Move this process and its future children into the group; return the names of the controllers in force."""
    Path(group, "cgroup.procs").write_text("0")
    return " ".join(name for name in Path(group, "cgroup.controllers").read_text().split() if name in _CONTROLLERS)


def limit(group: str, memory: int, tasks: int) -> None:
    """Limit the group. `memory`: bytes, without swap; `tasks`: processes and threads."""
    settings = {"memory.max": memory + _SLACK, "memory.swap.max": 0, "memory.oom.group": 1, "pids.max": tasks}
    for name, value in settings.items():
        with contextlib.suppress(OSError):  # a controller that is not available here
            Path(group, name).write_text(str(value))


def ran_out_of_memory(group: str) -> bool:
    """Whether the kernel has killed a process of the group because it ran out of memory."""
    try:
        lines = Path(group, "memory.events").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)


def remove(group: str) -> None:
    """Remove the group and kill everything that still runs in it (Linux 5.14)."""
    with contextlib.suppress(OSError):
        Path(group, "cgroup.kill").write_text("1")
    for _ in range(1000):
        try:
            os.rmdir(group)
            return
        except FileNotFoundError:
            return
        except OSError:  # a process in it has not quite ended
            time.sleep(0.001)
