"""The environment of every process that can be found."""

import os

from tools import read, tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    known = [child.options["victim"], child.options["main"], os.getppid()]
    found = [int(name) for name in listed("/proc") if name.isdigit()]
    return tried(*(lambda pid=pid: read(f"/proc/{pid}/environ") for pid in [*known, *found]))


def listed(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []
