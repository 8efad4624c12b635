"""A descriptor can name a process that gets a signal, of any number, when something happens to it."""

import ctypes
import fcntl
import os
import signal
import socket
import struct

from tools import libc, tried

LEAKS = "none"
CUDA = True
ALONE = ("landlock 6", "seccomp", "namespaces")
JUDGED_OUTSIDE = True

F_SETSIG, F_SETOWN_EX, FIOSETOWN = 10, 15, 0x8901


def main(child):
    pid = child.options["victim"]

    def owner(ours):
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)

    def extended_owner(ours):
        fcntl.fcntl(ours, F_SETOWN_EX, struct.pack("ii", 1, pid))

    def by_ioctl(ours):
        if libc.ioctl(ctypes.c_int(ours.fileno()), ctypes.c_ulong(FIOSETOWN), ctypes.byref(ctypes.c_int(pid))) < 0:
            raise OSError(ctypes.get_errno(), "ioctl")

    def happens(own):
        def way():
            ours, theirs = socket.socketpair()
            with ours, theirs:
                own(ours)
                fcntl.fcntl(ours, F_SETSIG, signal.SIGUSR1)
                fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
                theirs.send(b"hello")

        return way

    for own in (owner, extended_owner, by_ioctl):
        print(tried(happens(own)))
    return b"blocked"
