"""A folder of class folders of images, with `train` and `test` above them if the data is split already."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from sandbox.data.dataset import Split
from sandbox.data.decoding import Raw
from sandbox.data.files import fingerprint

SAMPLE = 1024
"""Roughly the largest number of images that `sample` reads."""


class ClassFolders:
    """A `Source`."""

    class_names: Sequence[str] = ()
    """Empty: the labels themselves are the class names."""

    def __init__(self, folder: Path, parts: Mapping[Split, Sequence[tuple[str, str]]], cache: Path, about: str) -> None:
        """`parts`: (class, relative path) of each image."""
        self.about = about
        self._folder, self._parts = folder, parts
        self.key = fingerprint(folder, [path for images in parts.values() for _, path in images], cache)

    def labels(self) -> Mapping[Split, Sequence[Hashable]]:
        return {part: [name for name, _ in images] for part, images in self._parts.items()}

    def images(self, part: Split) -> Iterator[Raw]:
        return self._read(self._parts[part])

    def sample(self) -> Iterator[Raw]:
        images = self._parts["train"]
        return self._read(images[:: max(1, len(images) // SAMPLE)])

    def _read(self, images: Sequence[tuple[str, str]]) -> Iterator[Raw]:
        return ((path, (self._folder / path).read_bytes()) for _, path in images)
