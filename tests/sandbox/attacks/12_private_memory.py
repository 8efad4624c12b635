"""700 MB of private memory."""

LEAKS = "limits"
ENDS = ("memory",)


def main(child):
    held = []
    try:
        for _ in range(700):
            held.append(bytearray(b"x") * (1 << 20))
    except MemoryError:
        return b"blocked"
    return b"leak: 700 MB"
