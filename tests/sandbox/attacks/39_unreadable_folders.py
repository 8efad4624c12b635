"""Files that nobody finds again: behind a folder that cannot be listed, or at a path that is too long to name."""

import os

from tools import wait

LEAKS = "plain"
ENDS = ("disk",)


def main(child):
    os.chdir(child.scratch)
    os.mkdir("unlisted", 0o300)
    os.chdir("unlisted")
    for _ in range(30):
        os.mkdir("n" * 200)
        os.chdir("n" * 200)
    try:
        for i in range(10):
            with open(str(i), "wb") as file:
                file.write(b"x" * (30 << 20))
        wait(child)
    except OSError:
        return b"blocked"
    return b"leak: 300 MB"
