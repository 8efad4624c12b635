"""Where images come from: an embedded set, a folder, or the hub."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from sandbox.data.dataset import DataRequest, Split
from sandbox.data.decoding import Raw
from sandbox.sandbox import TaskError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
EMBEDDED: Mapping[str, str] = {
    "digits": "sandbox.data.embedded:Digits",
}
"""Data sets that have a name of their own: name -> the class, a `Source` without arguments. To add one, add a line."""
EXAMPLES = "a hub id such as uoft-cs/cifar10, or a folder of parquet files or of class folders of images"


class Source(Protocol):
    """Images with labels in up to three parts, read in the same order every time."""

    key: str
    """First part of the name of its cache folder; it changes when the content changes."""
    about: str
    """Half a sentence for prompts."""
    class_names: Sequence[str]
    """The names given by the data; empty if it gives none."""

    def labels(self) -> Mapping[Split, Sequence[Hashable]]:
        """Return a number or a text for each image, by part. There is always a part `train`."""
        ...

    def images(self, part: Split) -> Iterator[Raw]:
        """Yield the images of a part in the order of its labels, read lazily."""
        ...

    def sample(self) -> Iterator[Raw]:
        """Return some images, spread over all parts."""
        ...


def find(request: DataRequest, cache: Path) -> Source:
    """Return the source of a requested data set. Raises TaskError if there is no such data."""
    name = request.dataset
    if name in EMBEDDED:
        if request.image_size or request.channels:
            _need("PIL")
        module, _, kind = EMBEDDED[name].partition(":")
        return cast(Source, getattr(import_module(module), kind)())
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return open_folder(folder, request, cache, f"images from the folder {folder.name}")
    if HUB_ID.fullmatch(name):
        from sandbox.data.hub import fetch

        _need("huggingface_hub")
        return open_folder(fetch(name), request, cache, f"{name} from the Hugging Face hub")
    if folder.exists():
        raise TaskError(f"task.dataset: {name} is a file; give {EXAMPLES}.")
    raise TaskError(f"task.dataset: there is no data set {name!r}; known: {', '.join(sorted(EMBEDDED))}; or {EXAMPLES}.")


def open_folder(folder: Path, request: DataRequest, cache: Path, about: str) -> Source:
    """Return the source for a folder of parquet files or of class folders. Raises TaskError."""
    from sandbox.data.files import list_files

    found = list_files(folder, request.subset)
    _need("PIL", *(["pyarrow"] if found.parquet else []))
    if found.parquet:
        from sandbox.data.parquet import ParquetFiles

        return ParquetFiles(folder, found.parquet, request, cache, about)
    from sandbox.data.class_folders import ClassFolders

    return ClassFolders(folder, found.images, cache, about)


def _need(*modules: str) -> None:
    """Raise TaskError if a package of the extra `data` is needed and not installed."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        packages = [{"PIL": "pillow"}.get(name, name) for name in missing]
        # The packages themselves: an index may not know the name of this project, or know another one by it.
        command = f"{sys.executable} -m pip install {' '.join(packages)}"
        raise TaskError(f"task.dataset: reading it needs {' and '.join(packages)}: {command}")
