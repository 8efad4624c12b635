"""The first thread ends and the others go on: the process then shows no memory of its own."""

import ctypes
import threading
import time

from tools import libc, number

LEAKS = "limits"
ENDS = ("memory",)
SAYS = "leak-without-a-leader"


def main(child):
    def hog():
        time.sleep(0.1)
        held = bytearray(b"x") * (700 << 20)
        time.sleep(0.3)
        print(SAYS, len(held), flush=True)
        libc.syscall(ctypes.c_long(number(231, 94)), ctypes.c_int(0))  # exit_group

    threading.Thread(target=hog).start()
    release = ctypes.PyDLL(None).PyEval_SaveThread  # the lock of the interpreter must not end with this thread
    release.restype = ctypes.c_void_p
    release()
    ctypes.CDLL(None).syscall(ctypes.c_long(number(60, 93)), ctypes.c_int(0))  # exit of this thread alone
