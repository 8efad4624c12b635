"""Finds the images that a network was made for, where it does not run on those of the data: other colours, another size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from sandbox.data.dataset import Dataset
from sandbox.tasks.common.job import StageFailure
from sandbox.tasks.image_classification.settings import ImageSettings

SIDES = (28, 32, 64, 96, 128, 224)
"""Sizes that published models are made for, in pixels."""
_SHAPES = re.compile(r"shape|size|dimension|kernel|channels", re.IGNORECASE)
"""What torch's errors about sizes that do not fit have in common."""
_WANTED = re.compile(r"to have (\d+) channels, but got \d+ channels")

Smoke = Callable[[ImageSettings, Dataset], StageFailure | None]
"""Tries the network on one batch of such images, made up; returns what is wrong."""


def fitting(settings: ImageSettings, data: Dataset, failure: StageFailure, smoke: Smoke) -> dict[str, object] | None:
    """Return the keys of `[task]` under which the network runs, `channels` and `input_size`; None if none are found.

    `failure`: what is wrong with the images as they are. What the user has named stays. The sizes nearest to the stored one
    are tried first.
    """
    if not _SHAPES.search(failure.reason):
        return None
    for channels in _channels(settings, data, failure.reason):
        for size in (None, *_sizes(settings, data)):
            if (channels, size) == (data.channels, None):
                continue  # as they are
            found = smoke(replace(settings, input_size=size or settings.input_size), recoloured(data, channels))
            if found is None:
                named = {"channels": channels} if channels != data.channels else {}
                return {**named, **({"input_size": list(size)} if size else {})}
            if not _SHAPES.search(found.reason):
                return None
            if size is None and _WANTED.search(found.reason):
                break  # not these colours
    return None


def recoloured(data: Dataset, channels: int) -> Dataset:
    """Return what such a data set would be like, for trials that read none of its files."""
    return data if channels == data.channels else replace(data, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)


def told(keys: dict[str, object], data: Dataset) -> str:
    """Return the sentence about what was changed, with the keys that change it back."""
    parts = []
    if "channels" in keys:
        parts.append("in grey" if keys["channels"] == 1 else "in three equal colours")
    if "input_size" in keys:
        height, width = keys["input_size"]  # type: ignore[misc]  # a list of two
        parts.append(f"resized to {height} x {width}")
    names = ", ".join(f"task.{key} = {value}" for key, value in keys.items())
    stored = f"{data.channels} x {data.height} x {data.width}"
    return f"the network does not run on images of {stored}: it is shown them {' and '.join(parts)} ({names})"


def _channels(settings: ImageSettings, data: Dataset, reason: str) -> Iterator[int]:
    wanted = _WANTED.search(reason)
    if settings.request.channels is not None or not wanted:
        yield data.channels
    if settings.request.channels is None and (not wanted or wanted[1] in "13"):
        yield int(wanted[1]) if wanted else 4 - data.channels


def _sizes(settings: ImageSettings, data: Dataset) -> list[tuple[int, int]]:
    if settings.input_size or settings.request.image_size:
        return []
    stored = math.sqrt(data.height * data.width)
    return [(side, side) for side in sorted(SIDES, key=lambda side: abs(math.log(side / stored)))]
