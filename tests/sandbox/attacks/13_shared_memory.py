"""700 MB of memory that no limit on private memory counts."""

import mmap

from tools import tried, wait

LEAKS = "limits none"
CUDA = True
ENDS = ("memory",)


def main(child):
    def anonymous():
        held = [mmap.mmap(-1, 100 << 20) for _ in range(7)]  # mmap.mmap is shared unless told otherwise
        for memory in held:
            for offset in range(0, len(memory), 4096):
                memory[offset] = 1
        wait(child)
        return "700 MB"

    return tried(anonymous)
