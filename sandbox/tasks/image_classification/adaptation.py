"""Finds the images that a network was made for, where it does not run on those of the data: other colours, another size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True)
class Images:
    """Other images than the stored ones, as far as they differ."""

    channels: int | None = None
    size: tuple[int, int] | None = None
    """(height, width) in pixels."""

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of `[task]` that ask for them."""
        channels = {} if self.channels is None else {"channels": self.channels}
        return channels if self.size is None else {**channels, "input_size": list(self.size)}


def fitting(settings: ImageSettings, data: Dataset, failure: StageFailure, smoke: Smoke) -> Images | None:
    """Return the images on which the network runs; None if none are found.

    `failure`: what is wrong with the images as they are. What the user has named stays. The sizes nearest to the stored one
    are tried first.
    """
    if not _SHAPES.search(failure.reason):
        return None
    for channels in _channels(settings, data, failure.reason):
        for size in (None, *_sizes(settings, data)):
            images = Images(channels if channels != data.channels else None, size)
            if not images.keys:
                continue  # as they are
            found = smoke(replace(settings, input_size=size or settings.input_size), recoloured(data, channels))
            if found is None:
                return images
            if not _SHAPES.search(found.reason):
                return None
            if size is None and _WANTED.search(found.reason):
                break  # not these colours
    return None


def recoloured(data: Dataset, channels: int) -> Dataset:
    """Return what such a data set would be like, for trials that read none of its files."""
    return data if channels == data.channels else replace(data, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)


def told(images: Images, data: Dataset) -> str:
    """Return the sentence about what was changed, with the keys that say it."""
    colours = {None: [], 1: ["in grey"]}.get(images.channels, ["in three colours"])
    sizes = [f"resized to {images.size[0]} x {images.size[1]}"] if images.size else []
    names = ", ".join(f"task.{key} = {value}" for key, value in images.keys.items())
    stored = f"{data.channels} x {data.height} x {data.width}"
    return f"the network does not run on images of {stored}: it is shown them {' and '.join([*colours, *sizes])} ({names})"


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
