"""Files that are memory, many small ones, written and never mapped."""

import os

from tools import tried, wait

LEAKS = "limits none"
ALONE = ("seccomp",)


def main(child):
    def memory_files():
        held = [os.memfd_create(str(i)) for i in range(16)]
        for descriptor in held:
            for _ in range(40):
                os.write(descriptor, b"x" * (1 << 20))
        wait(child)
        return "640 MB"

    return tried(memory_files)
