"""Foreign weights: those of a trained model, shuffled within each tensor, so that nothing that was learned is left in them.

A program that predicts as well with them has what it knows from somewhere else than its counted weights: a file, a table, a
tensor that is not saved. Every way of hiding weights has that in common, whatever it is. A program that recognises its own
weights, and guesses when they are others, passes: the check finds what a search stumbles upon, not every malice.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DRAWS = 8
"""So often a model may try. An untrained network may by chance be right about whole classes, but not every time."""
ROWS = 1_000
"""About so many rows are predicted."""
STANDARD_ERRORS = 3.0
"""Above the share of the most frequent class, in the binomial's standard errors: what counts as chance."""


def foreign_weights(weights: bytes, random: np.random.Generator) -> bytes:
    """Return the same tensors with the elements of each in random order and, if they are floats, of random sign.

    `weights`: safetensors that the trusted side has written itself.
    """
    import numpy as np

    start = 8 + int.from_bytes(weights[:8], "little")
    header: dict[str, Any] = json.loads(weights[8:start])
    mixed = bytearray(weights)
    for name in sorted(header):
        tensor = header[name]
        begin, end = (start + offset for offset in tensor["data_offsets"])
        count = math.prod(tensor["shape"]) * (2 if tensor["dtype"].startswith("C") else 1)  # a complex number is two floats
        if not count:
            continue
        elements = np.frombuffer(weights[begin:end], "u1").reshape(count, -1)[random.permutation(count)]
        if tensor["dtype"][0] in "FBC" and tensor["dtype"] != "BOOL":  # F32, BF16, F8_E4M3, C64: the last bit is the sign
            elements[:, -1] ^= random.integers(0, 2, count, "u1") << 7
        mixed[begin:end] = elements.tobytes()
    return bytes(mixed)


def chance(targets: np.ndarray) -> float:
    """Return the largest accuracy that guessing may reach on these classes, int64 (N,): the most frequent one, and its noise."""
    import numpy as np

    share = float(np.bincount(targets).max()) / len(targets)
    return share + STANDARD_ERRORS * math.sqrt(share * (1 - share) / len(targets))
