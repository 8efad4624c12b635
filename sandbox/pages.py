"""Large pages for what a zygote holds: a fork copies, and an exit clears, one entry for 2 MiB in place of 512.

What a child writes to is still copied in small pages, so nothing changes in what is counted as its memory.
"""

from __future__ import annotations

import ctypes

_HUGE = 2 << 20
_COLLAPSE = 25
"""MADV_COLLAPSE (Linux 6.1), which acts at once and whatever the system's setting for large pages is."""


def collapse() -> None:
    """Of this process's private, writable memory that belongs to no file. Where the kernel does not want to, all stays."""
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with open("/proc/self/maps") as file:
        areas = [line.split() for line in file]
    for span, access, _, _, inode, *name in areas:
        if access != "rw-p" or inode != "0" or name[:1] == ["[stack]"]:
            continue
        start, end = (int(edge, 16) for edge in span.split("-"))
        for address in range(-(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE, _HUGE):
            madvise(address, _HUGE, _COLLAPSE)
