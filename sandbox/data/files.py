"""Finds the files of a data set, sorts them into parts by their names, and fingerprints their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.data.dataset import SPLITS, Split
from sandbox.data.decoding import SUFFIXES
from sandbox.sandbox import TaskError

MAX_FILES = 5_000_000
"""A folder with more files is not a data set but a whole disk, named by mistake."""

_PARTS: Mapping[str, Split] = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip
_SHARD = re.compile(r"(.*-)(\d{5})(-of-(\d{5}).*)\.parquet")


@dataclass(frozen=True)
class FoundFiles:
    """Sorted relative paths of the files of one kind; the other kind is empty."""

    parquet: Mapping[Split, Sequence[str]]
    images: Mapping[Split, Sequence[tuple[str, str]]]
    """(class name, path) of each image."""


def list_files(folder: Path, subset: str | None) -> FoundFiles:
    """Find the files of a data set. Raises TaskError if there is nothing to train on, or so much that it must be a mistake."""
    parquet: list[str] = []
    images: list[str] = []
    for count, path in enumerate(_walk(folder)):
        if count >= MAX_FILES:
            raise TaskError(f"task.dataset: {folder} holds more than {MAX_FILES:,} files; name the data set's own folder.")
        suffix = os.path.splitext(path)[1].lower()
        if suffix == ".parquet":
            parquet.append(path)
        elif suffix in SUFFIXES and "/" in path:
            images.append(path)
    if parquet:
        return FoundFiles(_parquet_parts(folder, sorted(parquet), subset), {})
    if not images:
        raise TaskError(f"task.dataset: {folder} holds no parquet file and no class folder of images.")
    return FoundFiles({}, _image_parts(folder, sorted(images)))


def fingerprint(folder: Path, paths: Sequence[str], cache: Path) -> str:
    """Return a digest of names and content. Files whose size and time have not changed since the last call are not read again."""
    stamps = [(path, os.stat(folder / path)) for path in paths]
    stamp_list = json.dumps([str(folder.resolve()), [(path, s.st_size, s.st_mtime_ns) for path, s in stamps]])
    stamp = hashlib.sha256(stamp_list.encode("utf-8", "surrogatepass")).hexdigest()
    saved = cache / "fingerprints" / stamp
    if saved.is_file():
        return saved.read_text()
    whole = hashlib.sha256()
    for path in paths:
        with open(folder / path, "rb") as file:
            whole.update(f"{path}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode("utf-8", "surrogatepass"))
    saved.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=saved.parent, prefix=".")
    with open(descriptor, "w") as file:
        file.write(whole.hexdigest())
    os.replace(temporary, saved)
    return whole.hexdigest()


@contextmanager
def written_at_once(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, and rename it to `folder` when it is filled: another process may be filling the same one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # if it is, another process was first, with the same content
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _walk(folder: Path) -> Iterator[str]:
    """Relative paths of all files, without hidden ones and linked folders."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(root, folder)
        for name in files:
            if not name.startswith("."):
                yield name if below == "." else f"{below}/{name}".replace(os.sep, "/")


def _parquet_parts(folder: Path, paths: Sequence[str], subset: str | None) -> dict[Split, Sequence[str]]:
    """Parts by `train`, `test` or `validation` in the name of the file or its folder; without any, all is for training."""
    groups: dict[str, dict[Split, list[str]]] = {}
    for path in paths:
        *above, name = path.split("/")
        part = _part_in(name)
        if part is None and above:
            part = _part_in(above[-1])
            above = above[:-1] if part else above
        groups.setdefault("/".join(above), {}).setdefault(part or "train", []).append(path)
    if subset is not None:
        groups = {name: parts for name, parts in groups.items() if subset in (name, name.rpartition("/")[2])}
        if not groups:
            raise TaskError(f"task.subset: {folder} has no folder {subset!r} of parquet files.")
    usable = {name: parts for name, parts in groups.items() if "train" in parts}
    if not usable:
        raise TaskError(f"task.dataset: {folder} has no parquet file for training.")
    if len(usable) > 1:
        names = ", ".join(name or "." for name in sorted(usable)[:8])
        raise TaskError(f"task.dataset: {folder} holds several data sets; name one as task.subset: {names}.")
    parts = next(iter(usable.values()))
    for files in parts.values():
        _check_shards(files)
    return {split: parts[split] for split in SPLITS if split in parts}


def _check_shards(paths: Sequence[str]) -> None:
    """Raise TaskError if a shard such as `train-00001-of-00004` is missing: an interrupted download would go unnoticed."""
    for path in paths:
        if match := _SHARD.fullmatch(path):
            wanted = int(match[4])
            missing = [i for i in range(wanted) if f"{match[1]}{i:05d}{match[3]}.parquet" not in paths]
            # Names may end in a hash that differs from file to file: then only the count can be compared.
            if missing and len([p for p in paths if f"-of-{match[4]}" in p]) < wanted:
                raise TaskError(f"task.dataset: {match[1]}{missing[0]:05d}{match[3]}.parquet is missing beside {path}.")


def _image_parts(folder: Path, paths: Sequence[str]) -> dict[Split, Sequence[tuple[str, str]]]:
    """Sort `train/CLASS/...` and `test/CLASS/...` into parts; without such folders, all of `CLASS/...` is for training."""
    split_already = any(_PARTS.get(path.split("/")[0].lower()) == "train" for path in paths)
    if not split_already:
        return {"train": [(path.split("/")[0], path) for path in paths]}
    parts: dict[Split, list[tuple[str, str]]] = {}
    for path in paths:
        top, name, *rest = path.split("/")
        part = _PARTS.get(top.lower())
        if part and rest:
            parts.setdefault(part, []).append((name, path))
    if "train" not in parts:
        raise TaskError(f"task.dataset: {folder} has no class folders of images in its folder for training.")
    return {split: parts[split] for split in SPLITS if split in parts}


def _part_in(name: str) -> Split | None:
    for word in re.split(r"[^a-z]+", name.lower()):
        if word in _PARTS:
            return _PARTS[word]
    return None
