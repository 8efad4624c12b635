"""Data sets as uint8 images with three fixed splits: train, validation (selects) and test (sealed).

A set is decoded once into a cache folder of `.npy` files. The labels of validation and test are stored apart from everything
that is ever handed to a sandbox.
"""

from __future__ import annotations

from pathlib import Path

from sandbox.data.dataset import SPLITS, DataRequest, Dataset, Split
from sandbox.data.secret import Secret

__all__ = ["SPLITS", "DataRequest", "Dataset", "Secret", "Split", "load"]


def load(request: DataRequest | str, cache: Path, secret: Secret | None = None) -> Dataset:
    """Open a data set; decode it into `cache` if it is not there yet. `request` may be just its name.

    `secret`: its rows are stored in an order drawn from it; None: from that of the cache.

    Raises TaskError (one sentence) if the data does not exist or cannot be used, and OSError if the cache cannot be written.
    """
    from sandbox.data.cache import open_dataset
    from sandbox.data.sources import find
    from sandbox.isolation import levels

    wanted = DataRequest(request) if isinstance(request, str) else request
    for folder in (cache, Path(wanted.dataset).expanduser()):
        if folder.is_dir():
            levels.conceal(folder)
    return open_dataset(find(wanted, cache), wanted, cache, secret or Secret.of(None, cache))
