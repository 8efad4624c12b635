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

ROUNDS = 3
MAX_ROUNDS = 9
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


def images_needed(available: int, seconds_each: float, image_bytes: int) -> int:
    """Return how many of the available images take about `WANTED_SECONDS`, and can be held."""
    room = min(MAX_IMAGES, MAX_BYTES // max(1, image_bytes))
    return int(min(available, room, WANTED_SECONDS / max(seconds_each, 1e-7)))


def rounds_needed(work: float) -> int:
    """Return how often a call of so many seconds of work is timed: a short one oftener, since starts vary as much as it takes."""
    return int(min(MAX_ROUNDS, max(ROUNDS, ROUNDS * WANTED_SECONDS / max(work, 1e-7))))


def seconds_each(timed: Callable[[int], float], empty: Callable[[], float], count: int, rounds: int) -> float:
    """Return the seconds for each of `count` images: the median over rounds of a call with the model minus one without it.

    `timed` gets the number of its round.
    """
    return max(0.0, statistics.median(timed(number) - empty() for number in range(rounds)) / count)
