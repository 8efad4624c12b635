"""io_uring does system calls that a filter does not see."""

import ctypes

from tools import syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    def setup():
        return syscall(425, ctypes.c_uint(4), ctypes.create_string_buffer(256))

    return tried(setup)
