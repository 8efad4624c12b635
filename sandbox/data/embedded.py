"""Data sets that come with an installed package, for the demo, tutorials and tests."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from sandbox.data.dataset import Split
from sandbox.data.decoding import Raw


class Digits:
    """A `Source`."""

    key = "digits-v2"
    """Raise the number in the key when the splits or the format change."""
    about = "scikit-learn's handwritten digits, 1,797 real grey images of 8 x 8 pixels"
    class_names: Sequence[str] = ()

    def labels(self) -> Mapping[Split, Sequence[Hashable]]:
        return {"train": self._bunch.target.tolist()}

    def images(self, part: Split) -> Iterator[Raw]:
        # A pixel counts the inked dots of a 4 x 4 cell: 0..16.
        pixels = (self._bunch.images[:, None] * (255 / 16)).round().astype("uint8")
        return ((f"image {row}", image) for row, image in enumerate(pixels))

    def sample(self) -> Iterator[Raw]:
        return self.images("train")

    @cached_property
    def _bunch(self) -> Any:
        from sklearn.datasets import load_digits

        return load_digits()
