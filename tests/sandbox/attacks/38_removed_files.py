"""Files that are written and have no name: removed, replaced, or never named at all."""

import os

from tools import tried, wait

LEAKS = "limits none"
ENDS = ("disk",)


def main(child):
    def fill(descriptor):
        for _ in range(30):
            os.write(descriptor, b"x" * (1 << 20))

    def removed():
        for _ in range(10):
            descriptor = os.open(child.scratch / "a", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.unlink(child.scratch / "a")
            fill(descriptor)
        wait(child)
        return "300 MB"

    def replaced():
        for _ in range(10):
            descriptor = os.open(child.scratch / "b", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.rename(child.scratch / "b", child.scratch / "c")
            fill(descriptor)
        wait(child)
        return "300 MB"

    def nameless():
        for _ in range(10):
            fill(os.open(child.scratch, os.O_RDWR | os.O_TMPFILE))
        wait(child)
        return "300 MB"

    return tried(nameless, removed, replaced)
