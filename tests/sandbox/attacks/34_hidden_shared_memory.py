"""Shared memory that is filled and then let go of page by page: still in use, but resident in no process."""

import mmap
import os

from tools import tried, wait

LEAKS = "limits none"
CUDA = True
ENDS = ("memory",)

CHUNK = 50 << 20


def main(child):
    def forgotten():
        memory = mmap.mmap(-1, 700 << 20)
        for start in range(0, len(memory), CHUNK):
            memory[start : start + CHUNK] = b"x" * CHUNK
            memory.madvise(mmap.MADV_DONTNEED, start, CHUNK)
        assert memory[0] == ord("x")
        wait(child)
        return "700 MB"

    def zero_device():
        device = os.open("/dev/zero", os.O_RDONLY)
        memory = mmap.mmap(device, 700 << 20, prot=mmap.PROT_READ)
        for start in range(0, len(memory), CHUNK):
            sum(memory[i] for i in range(start, start + CHUNK, 4096))
            memory.madvise(mmap.MADV_DONTNEED, start, CHUNK)
        wait(child)
        return "700 MB"

    return tried(forgotten, zero_device)
