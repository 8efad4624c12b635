"""700 MB of private memory."""

from tools import wait

LEAKS = "limits"
ENDS = ("memory",)


def main(child):
    held = []
    try:
        for _ in range(700):
            held.append(bytearray(b"x") * (1 << 20))
    except MemoryError:
        return b"blocked"
    wait(child)
    return b"leak: 700 MB"
