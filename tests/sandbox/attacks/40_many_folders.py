"""Nothing but names: folders in folders, so deep that whoever walks through them must not recurse, and so many."""

import os

from tools import wait

LEAKS = "plain"
ENDS = ("disk",)


def main(child):
    os.chdir(child.scratch)
    try:
        for _ in range(5000):
            os.mkdir("d")
            os.chdir("d")
        wait(child)
    except OSError:
        return b"blocked"
    return b"leak: 5000 folders"
