"""Shared memory of System V, queues and semaphores: they outlive a process and are named for all."""

import ctypes

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp",)

CREATE = 0o1000 | 0o600


def main(child):
    def memory():
        made = syscall(number(29, 194), ctypes.c_int(0), ctypes.c_size_t(4096), ctypes.c_int(CREATE))
        syscall(number(31, 195), ctypes.c_int(made), ctypes.c_int(0), None)  # removed at once
        return made

    def queue():
        made = syscall(number(68, 186), ctypes.c_int(0), ctypes.c_int(CREATE))
        syscall(number(71, 187), ctypes.c_int(made), ctypes.c_int(0), None)
        return made

    def semaphores():
        made = syscall(number(64, 190), ctypes.c_int(0), ctypes.c_int(1), ctypes.c_int(CREATE))
        syscall(number(66, 191), ctypes.c_int(made), ctypes.c_int(0), ctypes.c_int(0))
        return made

    return tried(memory, queue, semaphores)
