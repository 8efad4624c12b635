"""Inference latency, measured by a clock that no candidate can reach.

Whole calls are timed outside, from handing over the images to the end of the process. The candidate does not know the images
before, so that it can compute nothing earlier, and it must have computed everything at the end. The time of a call that does
everything except the model's work is subtracted. A candidate can only make itself slower, or really faster. The predicted
classes prove that the images are processed and not skipped. Precision: the start of a process, and even more of CUDA, varies by
hundredths of a second and more, so a call must contain about a second of work; other work on the machine counts too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ROUNDS = 3
WANTED_SECONDS = 1.0
"""Seconds of work in one call, about."""
MAX_IMAGES = 32_768
MAX_BYTES = 256 << 20

EMPTY = """\
import torch
from torch import nn


class Empty(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        return self.bias.expand(len(x), -1)


def build_model(num_classes, in_channels):
    return Empty(num_classes)
"""
"""A model that does nothing: the time of a call without a model's work."""


def empty_weights(num_classes: int) -> bytes:
    """The weights of `EMPTY`, as safetensors."""
    import numpy as np
    from safetensors.numpy import save

    return bytes(save({"bias": np.zeros(num_classes, "float32")}))


def enough_images(images: np.ndarray, seconds_each: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (images, rows): the given images stand at `rows`, among so many similar ones that the work takes about a second.

    The others are shifted and noisy, each differently, so that no result can be reused.
    """
    import numpy as np

    room = max(len(images), min(MAX_IMAGES, MAX_BYTES // max(1, images[0].nbytes)))
    count = int(min(room, max(len(images), WANTED_SECONDS / max(seconds_each, 1e-7))))
    rng = np.random.default_rng(2)
    order = rng.permutation(count)
    mixed = np.empty((count, *images.shape[1:]), "uint8")
    mixed[order[: len(images)]] = images
    for start in range(len(images), count, 1024):
        places = order[start : start + 1024]
        others = np.roll(images[rng.integers(0, len(images), len(places))], int(rng.integers(1, 4)), axis=-1)
        mixed[places] = others ^ rng.integers(0, 8, others.shape, dtype="uint8")
    return mixed, order[: len(images)]


def seconds_each(timed: Callable[[], float], empty: Callable[[], float], count: int) -> float:
    """Return the seconds for each of `count` images: the median over rounds of a call with the model minus one without it."""
    return max(0.0, statistics.median(timed() - empty() for _ in range(ROUNDS)) / count)
