"""The flags of an input (not to be dumped, here), through a descriptor for reading: an ioctl, which Landlock does not cover."""

import ctypes
import fcntl
import os
import struct

from tools import syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)
CUDA = True

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, NODUMP = 0x80086601, 0x40086602, 0x40


def main(child):
    given = child.inputs["images"]

    def by_ioctl():
        (flags,) = struct.unpack("l", fcntl.ioctl(given, FS_IOC_GETFLAGS, bytes(8)))
        fcntl.ioctl(given, FS_IOC_SETFLAGS, struct.pack("l", flags ^ NODUMP))
        fcntl.ioctl(given, FS_IOC_SETFLAGS, struct.pack("l", flags))
        return "changed"

    def by_name():
        attributes = ctypes.create_string_buffer(24)
        path = os.fsencode(f"{child.options['home']}/.bashrc")
        where, size, none = ctypes.c_int(-100), ctypes.c_size_t(24), ctypes.c_uint(0)
        syscall(468, where, path, attributes, size, none)  # file_getattr, file_setattr: Linux 6.17
        syscall(469, where, path, attributes, size, none)
        return "set anew"

    return tried(by_ioctl, by_name)
