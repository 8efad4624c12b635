"""Constants shared by the processes of a call: numbers of descriptors, formats of messages and of the result."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

RESULT = CHANNEL = 3
"""Descriptor of the result. Until the call arrives it is the channel to the slot server."""
STATUS = START = 4
"""Descriptor on which the trusted init reports. In the candidate's own process, a held call waits on it for its start."""
FIRST_INPUT = 5
"""First descriptor of the call's input files. 1 and 2 are the log."""

LENGTH = struct.Struct("<Q")
"""First bytes of the result: its length plus one. Zero means that the entry function did not return."""
TOO_LONG = 2**64 - 1
"""Written as the length of a result that does not fit."""
ENDED = struct.Struct("<iQdd")
"""What the trusted init of a pid namespace reports: wait status, peak memory in bytes, user seconds, system seconds."""

MAX_ORDER = 1 << 16
"""Largest size in bytes of a message to the slot server. A candidate's text is never in a message but in the request, a file."""
MAX_DESCRIPTORS = 128
"""Largest number of descriptors sent with one message."""
STOP, GO = b"stop", b"go"
"""The messages to the slot server other than calls: end the running call; start the held call."""

_HIGH = 256
_HIGHEST = 1024


def arrange_descriptors(wanted: Mapping[int, int]) -> None:
    """Leave exactly these descriptors open. `wanted` maps a number to the descriptor that it becomes a copy of.

    They are copied to high numbers first, so that none is overwritten before it is copied.
    """
    high = {number: os.dup2(source, _HIGH + number, inheritable=False) for number, source in wanted.items()}
    os.closerange(0, _HIGH)
    for number, source in high.items():
        os.dup2(source, number, inheritable=False)
    os.closerange(_HIGH, _HIGHEST)
