"""What the user is told of the data before a run begins."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.data.dataset import Dataset
from sandbox.tasks.image_classification.settings import ImageSettings

FEW = 100
"""Fewer validation images than this are a doubt: one of them is more than a hundredth."""
_TEST = {True: "the data's own", False: "set aside, since the data has none of its own", None: "set aside"}
"""By `Dataset.own_test`."""


def remarks(s: ImageSettings, d: Dataset) -> tuple[str, ...]:
    """Classes, sizes of the splits and of the images, and what was changed of them."""
    named = f" ({', '.join(d.class_names)})" if 0 < len(d.class_names) <= 10 else ""
    sizes = f"{d.sizes['train']:,} images to train on, {d.sizes['validation']:,} to validate, {d.sizes['test']:,} to test"
    height, width = s.input_size or (d.height, d.width)
    resized = f", resized from {d.height} x {d.width}" if (height, width) != (d.height, d.width) else ""
    images = f"{d.channels} x {height} x {width}{resized}"
    text = f"data {d.name}: {d.num_classes} classes{named}; {sizes} ({_TEST[d.own_test]}); {images} pixels"
    return (text, *(f"data: {note}" for note in d.notes))


def doubts(d: Dataset) -> tuple[str, ...]:
    return tuple(_doubts(d))


def _doubts(d: Dataset) -> Iterator[str]:
    images = d.sizes["validation"]
    if images < FEW:
        plural = "s" if images > 1 else ""
        yield (
            f"The validation split has {images} image{plural}: one image is {1 / images:.2g} of accuracy, so that most "
            "differences between programs are chance. Raise task.validation_share, or give more data."
        )
