"""System calls that Python does not offer, through ctypes. Wrappers raise OSError with the name of the call."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

_libc = ctypes.CDLL(None, use_errno=True)

_SYSTEM = os.uname()
X86_64 = _SYSTEM.machine == "x86_64"
SUPPORTED = _SYSTEM.sysname == "Linux" and _SYSTEM.machine in ("x86_64", "aarch64")

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

# <linux/capability.h>
_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, CAP_SETFCAP = 0, 6, 7, 31
_CAPABILITY_VERSION_3 = 0x20080522

# arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h; equal where one number stands.
_NR_CAPSET = 126 if X86_64 else 91
_NR_PIVOT_ROOT = 155 if X86_64 else 41
NR_SECCOMP = 317 if X86_64 else 277
NR_MOUNT_SETATTR = 442
NR_LANDLOCK_CREATE_RULESET = 444
NR_LANDLOCK_ADD_RULE = 445
NR_LANDLOCK_RESTRICT_SELF = 446

_AT_FDCWD = -100
_MNT_DETACH = 2  # <sys/mount.h>


def checked(result: int, what: str) -> int:
    """Return the result of a system call. Raises OSError with `what` if the call failed."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, value: int = 0) -> None:
    zero = ctypes.c_ulong(0)  # the kernel reads all five as unsigned long; a bare 0 would be passed as an int
    checked(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero), f"prctl({option})")


def set_name(name: str) -> None:
    """Name this process in `ps -e` and `top`, with at most 15 characters. Does nothing on other systems.

    The name is for people only: a process can change its own name at any time.
    """
    if SUPPORTED:
        zero = ctypes.c_ulong(0)
        _libc.prctl(ctypes.c_int(_PR_SET_NAME), ctypes.c_char_p(name.encode()), zero, zero, zero)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_dumpable(value: bool) -> None:
    """If false, other processes of the same user can neither trace this process nor read its memory and environment."""
    prctl(_PR_SET_DUMPABLE, int(value))


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process instead of init's, so that none can escape."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Drop all capabilities irrevocably: bounding set, ambient, effective, permitted and inheritable."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break  # past the last one that this kernel knows, or not privileged to drop (then none can be gained)
    zero = ctypes.c_ulong(0)
    _libc.prctl(ctypes.c_int(_PR_CAP_AMBIENT), ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    checked(syscall(_NR_CAPSET, header, struct.pack("6I", *(0,) * 6)), "capset")
    no_new_privileges()


def can_become(user: int) -> bool:
    """Whether this process may take the uid and gid `user` and give files to it.

    Root may not where it has no capabilities, or in a user namespace that does not have that user.
    """
    return all(has_capability(one) for one in (_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID)) and all(
        _is_mapped(user, f"/proc/self/{kind}_map") for kind in ("uid", "gid")
    ) and _allows_setgroups()


def has_capability(number: int) -> bool:
    """Whether the capability is effective; false where there is no /proc."""
    try:
        with open("/proc/self/status") as file:
            effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    except OSError:
        return False
    return bool(int(effective, 16) >> number & 1)


def _is_mapped(user: int, path: str) -> bool:
    """Whether a user or group id exists in this user namespace."""
    try:
        with open(path) as file:
            ranges = [tuple(map(int, line.split())) for line in file]
    except OSError:
        return False
    return any(first <= user < first + count for first, _, count in ranges)


def _allows_setgroups() -> bool:
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().strip() == "allow"
    except OSError:  # an old kernel
        return True


def unshare(flags: int) -> None:
    checked(_libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    encoded = [v.encode() if v is not None else None for v in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    checked(result, f"mount {target}")


def mount_setattr(target: str, attributes: int, *, recursive: bool) -> None:
    """Set attributes of a mount: mount_setattr(2), Linux 5.12."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = 0x8000 if recursive else 0  # AT_RECURSIVE
    arguments = (ctypes.c_int(_AT_FDCWD), target.encode(), ctypes.c_uint(flags), packed, ctypes.c_ulong(len(packed)))
    checked(syscall(NR_MOUNT_SETATTR, *arguments), f"mount_setattr {target}")


def pivot_root_here() -> None:
    """Make the working directory the root, and unmount the old root."""
    checked(syscall(_NR_PIVOT_ROOT, b".", b"."), "pivot_root")
    checked(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)), "umount2")
    os.chdir("/")
