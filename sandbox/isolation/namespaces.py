"""Namespaces with a private read-only root: the candidate sees no other process, no network and no files but its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sandbox.isolation import linux

# <linux/sched.h>
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL = _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWUSER | _NEWPID | _NEWNET

# <linux/mount.h>
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

SCRATCH = "/scratch"
_DEVICES = ("null", "full", "random", "urandom")  # not `zero`: mapped and shared, it is memory that no supervisor counts
_INODES = 4096


def enter() -> None:
    """Enter new namespaces of every kind. This process keeps its uid in them and has no rights outside."""
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(ALL)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def build_root(
    base: str, readable: Iterable[str], hidden: Iterable[str], devices: Iterable[str], scratch_bytes: int
) -> None:
    """Build a root on a tmpfs at `base`: `readable` bound read-only at the same paths, a few devices, a scratch of fixed size.

    Folders and files in `hidden` are covered by empty ones.
    """
    linux.mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    linux.mount("tmpfs", base, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in readable:
        if os.path.islink(path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.symlink(os.readlink(path), base + path)
        elif os.path.exists(path):
            _bind(path, base + path)
            linux.mount_setattr(base + path, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, recursive=True)
    for path in hidden:
        if os.path.isdir(base + path):
            linux.mount("tmpfs", base + path, "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "size=4k,mode=555")
        elif os.path.isfile(base + path):
            linux.mount("/dev/null", base + path, None, _MS_BIND)
    for device in (*(f"/dev/{name}" for name in _DEVICES), *devices):
        if os.path.exists(device):
            _bind(device, base + device)
    for folder, extra in ((SCRATCH, 0), ("/dev/shm", _MS_NOEXEC)):
        os.makedirs(base + folder, exist_ok=True)
        size = f"size={scratch_bytes},mode=700,nr_inodes={_INODES}"
        linux.mount("tmpfs", base + folder, "tmpfs", _MS_NOSUID | _MS_NODEV | extra, size)
    os.makedirs(base + "/proc", exist_ok=True)
    if not os.path.lexists(base + "/tmp"):
        os.symlink(SCRATCH, base + "/tmp")


def mount_proc(base: str, *, writable: bool) -> bool:
    """Mount a /proc of the new pid namespace. Return False, without a /proc, if the system forbids it, as many containers do."""
    try:
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | (0 if writable else _MS_RDONLY)
        linux.mount("proc", base + "/proc", "proc", flags)
    except OSError:
        return False
    return True


def change_root(base: str) -> None:
    """Make `base` the root: nothing outside it can be named any more."""
    linux.mount_setattr(base, _ATTR_RDONLY, recursive=False)
    os.chdir(base)
    linux.pivot_root_here()


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "a").close()
    linux.mount(source, target, None, _MS_BIND | _MS_REC)
