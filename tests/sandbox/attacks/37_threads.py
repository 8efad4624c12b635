"""Two thousand threads: few bytes each for this process, a slot of the machine's process table each."""

import threading

from tools import wait

LEAKS = "plain"
ENDS = ("processes",)


def main(child):
    threading.stack_size(32 << 10)
    stop = threading.Event()
    started = 0
    try:
        for _ in range(2000):
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError):
        return b"blocked"
    wait(child)
    return f"leak: {started} threads".encode()
