"""A user namespace of one's own, where one is root and the kernel shows far more of its surface."""

import ctypes
import os
import signal

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)

NEWUSER = 0x10000000


def main(child):
    def cloned():
        flags = ctypes.c_ulong(NEWUSER | signal.SIGCHLD)
        pid = syscall(number(56, 220), flags, None, None, None, None)
        if pid == 0:
            os._exit(0)
        return os.waitpid(pid, 0)

    def unshared():
        syscall(number(272, 97), ctypes.c_int(NEWUSER))

    return tried(cloned, unshared)
