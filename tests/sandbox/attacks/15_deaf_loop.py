"""A loop that ignores every signal it can."""

import signal
import time

LEAKS = "limits"
ENDS = ("timeout",)
SECONDS = 1.0


def main(child):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    end = time.monotonic() + max(2.5, child.options.get("patience", 0))
    while time.monotonic() < end:
        pass
    return b"leak: 2.5 s"
