"""The request for a data set, and the data set in its cache folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

MAX_SIDE = 4096
DIGESTED = 500
"""About so many images of each split go into the digest of the data."""


@dataclass(frozen=True)
class DataRequest:
    """Which data to use, and how to store it. Every field affects the content of the cache."""

    dataset: str
    """An embedded name, a folder, or an id of the hub such as `uoft-cs/cifar10`."""
    subset: str | None = None
    """Folder or configuration of a data set that has several."""
    image_column: str | None = None
    """The column of parquet files that holds the images; if left out, it is found by its type."""
    label_column: str | None = None
    """The column of parquet files that holds the labels; if left out, it is found by its type and content."""
    image_size: tuple[int, int] | None = None
    """(height, width) in pixels to store; None: the most common size."""
    channels: int | None = None
    """1 (grey) or 3 (colour); None keeps what the images have."""
    validation_share: float = 0.2
    """Share of the training images of each class held out for selection, if the data has no validation split of its own."""
    train_share: float = 1.0
    """Share of the remaining images of each class that is used: less than 1 for quick searches."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded and report their number; otherwise they are an error."""

    @classmethod
    def read(cls, task: Mapping[str, Any]) -> DataRequest:
        """Parse the table `[task]`. Raises TaskError."""
        dataset = task.get("dataset")
        if not isinstance(dataset, str):
            raise TaskError("task.dataset is missing: name a data set, such as digits.")
        return cls(
            dataset=dataset,
            subset=_text(task, "subset"),
            image_column=_text(task, "image_column"),
            label_column=_text(task, "label_column"),
            image_size=read_size(task, "image_size"),
            channels=_channels(task),
            validation_share=_share(task, "validation_share", 0.2, most=0.9),
            train_share=_share(task, "train_share", 1.0, most=1.0),
            skip_corrupt=_flag(task, "skip_corrupt"),
        )


REQUEST_KEYS = frozenset(DataRequest.__dataclass_fields__)
"""The keys of `[task]` that `DataRequest.read` reads."""


@dataclass(frozen=True)
class Dataset:
    """One data set in its cache folder."""

    name: str
    folder: Path
    num_classes: int
    channels: int
    height: int
    width: int
    sizes: Mapping[Split, int]
    mean: tuple[float, ...]
    """Mean (and below it standard deviation) of each channel over the training images, in 0..1."""
    std: tuple[float, ...]
    about: str
    """One sentence for prompts."""
    class_names: tuple[str, ...] = ()
    """Empty if the classes have only numbers."""
    notes: tuple[str, ...] = ()
    """Changes made to the images and peculiarities of the splits, a clause each."""
    own_test: bool | None = None
    """Does the test split come with the data? False: it was set aside from the training images; None: not recorded."""

    def images(self, split: Split) -> Path:
        """The `.npy` file of a split's images: uint8 (N, C, H, W)."""
        return self.folder / f"{split}.images.npy"

    def labels(self, split: Split) -> Path:
        """The `.npy` file of a split's labels: int64 (N,). Only the labels of `train` may enter a sandbox."""
        return self.folder / labels_name(split)

    def targets(self, split: Split) -> np.ndarray:
        """The labels of training or validation as int64 (N,). For the trusted side only.

        Raises ValueError for the test split, which is sealed.
        """
        if split == "test":
            raise ValueError("the test split is sealed: only a confirmation reads its labels")
        return self._read_labels(split)

    def sealed_targets(self) -> np.ndarray:
        """The labels of the test split as int64 (N,). Nothing but a confirmation may call this: see docs/confirmation.md."""
        return self._read_labels("test")

    def digest(self) -> str:
        """A short digest of the data: facts, the labels of training and validation, and images spread evenly over all splits.

        Not all images: they may be many gigabytes. No label of the test split: those are sealed.
        """
        import numpy as np

        found = hashlib.sha256((self.folder / "facts.json").read_bytes())
        for split in SPLITS:
            images = np.load(self.images(split), mmap_mode="r")
            found.update(np.ascontiguousarray(images[:: max(1, len(images) // DIGESTED)]).tobytes())
            if split != "test":
                found.update(self.targets(split).tobytes())
        return found.hexdigest()[:12]

    def _read_labels(self, split: Split) -> np.ndarray:
        import numpy as np

        return np.asarray(np.load(self.labels(split)))


def labels_name(split: Split) -> str:
    """Return the file name of a split's labels. Labels that training does not need lie in a folder of their own."""
    return "train.labels.npy" if split == "train" else f"labels/{split}.npy"


def read_size(table: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    """Parse `64` or `[48, 64]` (height, width). Raises TaskError."""
    value = table.get(key)
    if value is None:
        return None
    pair = [value, value] if isinstance(value, int) else value
    whole = isinstance(pair, list | tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in pair)
    if not whole or len(pair) != 2 or not all(1 <= v <= MAX_SIDE for v in pair):
        raise TaskError(f"task.{key} must be a number of pixels, or [height, width], from 1 to {MAX_SIDE}, not {value!r}.")
    return int(pair[0]), int(pair[1])


def _text(task: Mapping[str, Any], key: str) -> str | None:
    value = task.get(key)
    if value is not None and not isinstance(value, str):
        raise TaskError(f"task.{key} must be a text, not {value!r}.")
    return value


def _channels(task: Mapping[str, Any]) -> int | None:
    value = task.get("channels")
    if value is not None and (value not in (1, 3) or isinstance(value, bool)):
        raise TaskError(f"task.channels must be 1 (grey) or 3 (colour), not {value!r}.")
    return value


def _share(task: Mapping[str, Any], key: str, default: float, *, most: float) -> float:
    value = task.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= most:
        raise TaskError(f"task.{key} must be above 0 and at most {most:g}, not {value!r}.")
    return float(value)


def _flag(task: Mapping[str, Any], key: str) -> bool:
    value = task.get(key, False)
    if not isinstance(value, bool):
        raise TaskError(f"task.{key} must be true or false, not {value!r}.")
    return value
