"""Data sets as uint8 images with three fixed splits: train, validation (selects) and test (sealed).

Decoded once into a cache folder of `.npy` files. The labels of validation and test lie apart from everything that is
ever handed to a sandbox.
"""

from __future__ import annotations

from pathlib import Path

from sandbox.data.dataset import SPLITS, Dataset, Request, Split

__all__ = ["PUBLISHED", "SPLITS", "Dataset", "Request", "Split", "load"]

PUBLISHED = ("sklearn/datasets", "guided_evolution/seeds")
"""Folders of installed packages with published copies of these data sets, labels and all: closed to every sandbox."""


def load(request: Request | str, cache: Path) -> Dataset:
    """The data set that is asked for, decoded into `cache` if it is not there yet.

    Raises TaskError, one sentence, for data that is not there or cannot be used, OSError if the cache cannot be written.
    """
    from sandbox.data.cache import opened
    from sandbox.data.sources import find
    from sandbox.isolation import levels

    asked = Request(request) if isinstance(request, str) else request
    for folder in (cache, Path(asked.dataset).expanduser()):
        if folder.is_dir():
            levels.conceal(folder)
    return opened(find(asked, cache), asked, cache)
