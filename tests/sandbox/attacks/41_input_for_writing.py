"""An input came as a descriptor for reading; its name in /proc opens the same file anew, for writing."""

import os

from tools import tried

LEAKS = "none"
ALONE = ("landlock",)


def main(child):
    given = child.inputs["images"]

    def anew():
        with open(f"/proc/self/fd/{given}", "r+b") as file:
            return file.write(b"hello")

    def at_its_path():
        with open(os.readlink(f"/proc/self/fd/{given}"), "r+b") as file:
            return file.write(b"hello")

    def through():
        return os.pwrite(given, b"hello", 0)

    return tried(anew, at_its_path, through)
