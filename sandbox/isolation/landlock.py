"""Landlock: an allow-list of paths, no TCP, no signals or abstract sockets to the outside (<linux/landlock.h>)."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from sandbox.isolation import linux

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
_MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 9, 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _READ_FILE | _READ_DIR
_SCRATCH = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM
_DEVICE = _READ_FILE | _READ_DIR | _WRITE_FILE | _IOCTL_DEV
_NAMED = _READ | _WRITE_FILE | _TRUNCATE

_TCP_BIND_CONNECT = 0b11  # ABI 4
_SCOPE_ABSTRACT_UNIX_AND_SIGNAL = 0b11  # ABI 6
_RULE_PATH_BENEATH = 1


def abi() -> int:
    """Return the version of the kernel's Landlock; 0 if it has none."""
    if not linux.SUPPORTED:
        return 0
    version = linux.syscall(linux.NR_LANDLOCK_CREATE_RULESET, None, ctypes.c_ulong(0), ctypes.c_uint(1))
    return max(version, 0)


def restrict(
    readable: Iterable[str],
    scratch: Iterable[str],
    devices: Iterable[str],
    listed: Iterable[str] = (),
    named: Iterable[str] = (),
    *,
    removable: bool,
) -> int:
    """Make every path that is not named inaccessible to this process and its children, irrevocably. Return the ABI version.

    Folders in `listed` can be listed, as an import does, but no file in them can be opened for that alone. In folders in `named`
    files can be overwritten but neither made nor removed, as a driver does to name its threads. If `removable` is false, files in
    `scratch` can be neither removed nor renamed, so that none can occupy space after it has lost its name.
    """
    version = abi()
    if not version:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    handled = (1 << 13) - 1
    handled |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0) | (_IOCTL_DEV if version >= 5 else 0)
    attributes = struct.pack("Q", handled)
    attributes += struct.pack("Q", _TCP_BIND_CONNECT) if version >= 4 else b""
    attributes += struct.pack("Q", _SCOPE_ABSTRACT_UNIX_AND_SIGNAL) if version >= 6 else b""
    ruleset = linux.syscall(
        linux.NR_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_ulong(len(attributes)), ctypes.c_uint(0)
    )
    linux.checked(ruleset, "landlock_create_ruleset")
    in_scratch = _SCRATCH if removable else _SCRATCH & ~_REMOVE_FILE
    rights = ((readable, _READ), (listed, _READ_DIR), (scratch, in_scratch), (devices, _DEVICE), (named, _NAMED))
    for paths, access in rights:
        for path in paths:
            _allow(ruleset, path, access & handled)
    linux.no_new_privileges()
    linux.checked(
        linux.syscall(linux.NR_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0)), "landlock_restrict_self"
    )
    os.close(ruleset)
    return version


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the lists name paths that only some systems have
    try:
        if not os.path.isdir(path):
            access &= _FOR_FILES
        rule = struct.pack("=Qi", access, descriptor)
        arguments = (ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint(0))
        linux.checked(linux.syscall(linux.NR_LANDLOCK_ADD_RULE, *arguments), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)
