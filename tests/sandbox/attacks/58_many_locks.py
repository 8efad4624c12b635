"""A script may lock files, but not so often that the locks fill the kernel's memory."""

import fcntl
import os

from tools import wait

LEAKS = "none"
ENDS = ("memory",)
LOCKS = True


def main(child):
    place = os.open(child.scratch / "locked", os.O_RDWR | os.O_CREAT)
    for at in range(14_000):
        fcntl.lockf(place, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * at)
    wait(child)
    return b"leak: 14,000 locks"
