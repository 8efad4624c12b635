"""A trusted process pinned to one processor, or only run when nothing else wants to."""

import ctypes
import os

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")


def main(child):
    pid = child.options["victim"]

    def processors():
        os.sched_setaffinity(pid, {0})

    def policy():
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))

    def attributes():
        batch = ctypes.create_string_buffer(bytes([48, 0, 0, 0, 3]), 48)
        syscall(number(314, 274), ctypes.c_int(pid), batch, ctypes.c_uint(0))

    def priority():
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))

    def resources():
        import resource

        resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE))

    return tried(processors, policy, attributes, priority, resources)
