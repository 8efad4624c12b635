"""A process that is meant to outlive the call: forked twice, in a session of its own."""

import ctypes
import os
import time

from tools import libc, tried

LEAKS = "none"
ALONE = ("seccomp",)


def main(child):
    def daemon():
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            time.sleep(0.2)
            return "a daemon"
        os.setsid()
        if os.fork():
            os._exit(0)
        libc.prctl(15, ctypes.c_char_p(child.options["comm"].encode()), 0, 0, 0)
        time.sleep(30)
        os._exit(0)

    return tried(daemon)
