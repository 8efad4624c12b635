"""Nothing but names: folders in folders, so deep that whoever walks through them must not recurse, and so many."""

import os
import time

LEAKS = "plain"
ENDS = ("disk",)


def main(child):
    os.chdir(child.scratch)
    try:
        for _ in range(5000):
            os.mkdir("d")
            os.chdir("d")
        time.sleep(0.2)
    except OSError:
        return b"blocked"
    return b"leak: 5000 folders"
