"""Everything that anybody writes is to be on the disk at once: the whole machine waits."""

import os

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp",)
CUDA = True


def main(child):
    def one_file_system():
        if libc.syncfs(os.open("/", os.O_RDONLY)) < 0:
            raise OSError("refused")
        return "synced"

    return tried(one_file_system)
