"""Whoever watches a folder learns the names of what others open in it, even of one that must not be read."""

import ctypes

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp", "namespaces")


def main(child):
    def watch():
        queue = libc.inotify_init()
        if queue < 0 or libc.inotify_add_watch(queue, f"{child.options['home']}/.ssh".encode(), 0xFFF) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        return "a watch"

    return tried(watch)
