"""A process may take back that it dies with its parent, and then outlives whoever watches it."""

import ctypes

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    def taken_back():
        zero = ctypes.c_ulong(0)
        if libc.prctl(ctypes.c_int(1), zero, zero, zero, zero) < 0:  # PR_SET_PDEATHSIG
            raise OSError(ctypes.get_errno(), "prctl")
        return "outlives"

    return tried(taken_back)
