"""The first thread ends and the others go on: the process then shows no memory of its own."""

import ctypes
import os
import threading
import time

from tools import number, wait

LEAKS = "limits"
ENDS = ("memory",)
SAYS = "leak-without-a-leader"


def main(child):
    def hog():
        time.sleep(0.1)
        held = bytearray(b"x") * (700 << 20)
        wait(child)
        os.write(1, f"{SAYS} {len(held)}".encode())
        os._exit(0)

    threading.Thread(target=hog).start()
    ctypes.CDLL(None).syscall(ctypes.c_long(number(60, 93)), ctypes.c_int(0))  # a call by CDLL holds no lock of Python
