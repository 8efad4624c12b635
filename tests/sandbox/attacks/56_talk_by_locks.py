"""Two candidates that can read the same file talk by its locks, leases and watches, past everything that is counted."""

import ctypes
import fcntl
import os

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    place = os.open(os.__file__, os.O_RDONLY)

    def called(command, argument=0):
        def way():
            if libc.fcntl(place, command, ctypes.c_long(argument)) < 0:
                raise OSError("refused")
            return "done"

        return way

    def record():
        return fcntl.lockf(place, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 77) or "locked"

    def asked():
        return fcntl.fcntl(place, fcntl.F_GETLK, bytes(32))

    def of_the_open_file():
        return fcntl.fcntl(place, 37, bytes(32))

    def whole():
        return fcntl.flock(place, fcntl.LOCK_SH | fcntl.LOCK_NB) or "locked"

    lease, watch = called(1024, fcntl.F_RDLCK), called(1026, 0x1)
    assert fcntl.fcntl(place, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY  # what every program asks
    return tried(record, asked, of_the_open_file, whole, lease, watch)
