"""A file is opened neither to read nor to write, but to be emptied: Landlock asks nothing of that before version 3."""

import os

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")


def main(child):
    path = f"{child.options['home']}/.bashrc"

    def emptied():
        return os.close(os.open(path, os.O_ACCMODE | os.O_TRUNC))

    def by_the_older_call():
        if libc.open(path.encode(), os.O_ACCMODE | os.O_TRUNC) < 0:
            raise OSError("refused")
        return "opened"

    return tried(emptied, by_the_older_call)
