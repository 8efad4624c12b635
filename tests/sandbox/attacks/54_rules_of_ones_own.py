"""Rules and filters of one's own are memory of the kernel, of any amount, that counts for no process."""

import ctypes
import os
import struct

from tools import libc, number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)
CUDA = True


def main(child):
    allow = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(allow)))

    def rules():
        ruleset = syscall(444, struct.pack("Q", 1 << 2), ctypes.c_size_t(8), ctypes.c_uint(0))
        here = os.open("/", os.O_PATH)
        return syscall(445, ctypes.c_int(ruleset), ctypes.c_int(1), struct.pack("=Qi", 1 << 2, here), ctypes.c_uint(0))

    def restriction():
        return syscall(446, ctypes.c_int(-1), ctypes.c_uint(0))

    def a_filter():
        libc.prctl(38, 1, 0, 0, 0)
        return syscall(number(317, 277), ctypes.c_uint(1), ctypes.c_uint(0), program)

    def a_filter_by_the_older_call():
        libc.prctl(38, 1, 0, 0, 0)
        if libc.prctl(22, 2, program) < 0:
            raise OSError("refused")
        return "installed"

    return tried(rules, restriction, a_filter, a_filter_by_the_older_call)
