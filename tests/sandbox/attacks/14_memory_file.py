"""Files that are memory, many small ones, written and never mapped."""

import os
import time

from tools import tried

LEAKS = "limits none"
ALONE = ("seccomp",)


def main(child):
    def memory_files():
        held = [os.memfd_create(str(i)) for i in range(16)]
        for descriptor in held:
            for _ in range(40):
                os.write(descriptor, b"x" * (1 << 20))
        time.sleep(0.3)
        return "640 MB"

    return tried(memory_files)
