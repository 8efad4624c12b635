"""Page tables for memory that is only read: a page of table for every two megabytes, none of it resident."""

import mmap

from tools import wait

LEAKS = "limits"
ENDS = ("memory",)

REACH = 1 << 30


def main(child):
    kept = []
    for _ in range(300):
        memory = mmap.mmap(-1, REACH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for offset in range(0, REACH, 2 << 20):
            memory[offset]
        kept.append(memory)
    wait(child)
    return b"leak: 600 MB of page tables"
