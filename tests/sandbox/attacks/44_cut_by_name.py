"""A file of the user's is cut: by its name, or while it is opened for reading only. Not all rules call that writing."""

import ctypes
import os

from tools import number, syscall, tried

LEAKS = "none"
ALONE = ("landlock 3", "seccomp", "namespaces")


def main(child):
    path = f"{child.options['home']}/.bashrc"

    def by_name():
        syscall(number(76, 45), path.encode(), ctypes.c_long(0))

    def while_reading():
        os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))

    return tried(by_name, while_reading)
