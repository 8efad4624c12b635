"""Another way to read files, whose flags no filter sees: with it one can ask whether a page is in memory."""

import ctypes

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)
CUDA = True


def main(child):
    def queue():
        context = ctypes.c_ulong(0)
        syscall(number(206, 0), ctypes.c_uint(4), ctypes.byref(context))
        return context.value

    return tried(queue)
