"""Settings of the kernel, which root may change even without any capability. Opened, never written."""

import os

from tools import tried

LEAKS = "root"
CUDA = True
ALONE = ("landlock", "namespaces")


def main(child):
    def opened(path):
        return lambda: os.close(os.open(path, os.O_WRONLY))

    settings = ("kernel/core_pattern", "kernel/modprobe", "vm/drop_caches", "kernel/hostname")
    others = ("/proc/sysrq-trigger", "/sys/kernel/uevent_helper")
    return tried(*(opened(f"/proc/sys/{name}") for name in settings), *map(opened, others))
