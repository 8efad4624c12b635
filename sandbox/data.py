"""Data sets as uint8 images with three fixed splits: train, validation (selects) and test (sealed).

Decoded once into a cache folder of `.npy` files. The labels of validation and test lie apart from everything that is
ever handed to a sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sandbox.sandbox import TaskError

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
PUBLISHED = ("sklearn/datasets",)
"""Folders of installed packages with published copies of these data sets, labels and all: closed to every sandbox."""
_SPLIT_SEED = 20240714
"""Fixed for ever: every run on a data set sees the same splits."""


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
    """Of each channel over the training images, in 0..1."""
    std: tuple[float, ...]
    about: str
    """One sentence for prompts."""

    def images(self, split: Split) -> Path:
        """`.npy` file of uint8 (N, C, H, W)."""
        return self.folder / f"{split}.images.npy"

    def labels(self, split: Split) -> Path:
        """`.npy` file of int64 (N,). Only those of `train` may enter a sandbox."""
        return self.folder / ("train.labels.npy" if split == "train" else f"labels/{split}.npy")

    def targets(self, split: Split) -> np.ndarray:
        """For the trusted side only."""
        import numpy as np

        return np.asarray(np.load(self.labels(split)))


def load(name: str, cache: Path) -> Dataset:
    """Raises TaskError for a data set that is not there, OSError if the cache cannot be written."""
    if name not in _SOURCES:
        raise TaskError(f"task.dataset: there is no data set {name!r}; known: {', '.join(sorted(_SOURCES))}.")
    read, about = _SOURCES[name]
    folder = cache / f"{name}-v1"  # the number changes when the splits or the format do
    if not folder.is_dir():
        _write(folder, *read())
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    facts |= {key: tuple(facts[key]) for key in ("mean", "std")}
    return Dataset(name=name, folder=folder, about=about, **facts)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (N, 1, 8, 8) and int64 labels (N,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # A pixel counts the inked dots of a 4 x 4 cell: 0..16.
    return (bunch.images[:, None] * (255 / 16)).round().astype("uint8"), bunch.target.astype("int64")


_SOURCES: Mapping[str, tuple[Callable[[], tuple[np.ndarray, np.ndarray]], str]] = {
    "digits": (_digits, "scikit-learn's handwritten digits, 1,797 real grey images of 8 x 8 pixels"),
}


def _write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """All files at once, by rename: another process may be doing the same."""
    import numpy as np

    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (temporary / "labels").mkdir()
        splits = _stratified(labels)
        for split, rows in splits.items():
            np.save(temporary / f"{split}.images.npy", np.ascontiguousarray(images[rows]))
            path = "train.labels.npy" if split == "train" else f"labels/{split}.npy"
            np.save(temporary / path, labels[rows])
        shown = images[splits["train"]].astype("float64") / 255
        facts = {
            "num_classes": int(labels.max()) + 1,
            "channels": images.shape[1],
            "height": images.shape[2],
            "width": images.shape[3],
            "sizes": {split: len(rows) for split, rows in splits.items()},
            "mean": [round(float(v), 4) for v in shown.mean((0, 2, 3))],
            "std": [round(float(v), 4) for v in shown.std((0, 2, 3))],
        }
        (temporary / "facts.json").write_text(json.dumps(facts))
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # if it is, another process was first, with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stratified(labels: np.ndarray) -> dict[Split, np.ndarray]:
    """Rows of each split: a fifth of every class for validation and for test each, the rest for training."""
    import numpy as np

    rng = np.random.default_rng(_SPLIT_SEED)
    rows: dict[Split, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fifth = len(members) // 5
        for split, part in zip(SPLITS, np.split(members, [len(members) - 2 * fifth, len(members) - fifth]), strict=True):
            rows[split].append(part)
    return {split: rng.permutation(np.concatenate(parts)) for split, parts in rows.items()}
