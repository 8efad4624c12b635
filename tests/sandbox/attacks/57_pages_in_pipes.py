"""Memory that pipes hold counts for no process: large pipes, and pages given to a pipe that are then unmapped."""

import ctypes
import fcntl
import mmap
import os

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)
CUDA = True


def main(child):
    _reader, writer = os.pipe()

    def large():
        return fcntl.fcntl(writer, 1031, 1 << 20)

    def given():
        pages = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pages[:1] = b"x"
        address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        vector = (ctypes.c_size_t * 2)(address, 4096)
        return syscall(number(278, 75), ctypes.c_int(writer), vector, ctypes.c_size_t(1), ctypes.c_uint(0))

    return tried(large, given)
