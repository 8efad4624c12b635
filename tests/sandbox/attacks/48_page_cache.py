"""Which pages of a file are in memory: whoever can change that and ask for it tells a later stage what it has learned.

A training that throws out some pages of the installed packages leaves thousands of numbers there, counted by nobody.
"""

import ctypes
import mmap
import os

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    given = child.inputs["images"]

    def throw_out():
        os.posix_fadvise(given, 0, 0, os.POSIX_FADV_DONTNEED)
        return "thrown out"

    def ask():
        with mmap.mmap(given, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as pages:
            address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
            answer = ctypes.create_string_buffer(1)
            syscall(number(27, 232), ctypes.c_void_p(address), ctypes.c_size_t(len(pages)), answer)
        return answer.raw

    def read_if_there():
        try:
            return os.preadv(given, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return "not there"

    return tried(throw_out, ask, read_if_there)
