"""Packs a project's folder into one file, of which every run of its script gets a private copy."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from sandbox.sandbox import TaskError

MAX_FILES = 2000
"""Largest number of files: the scratch folder of any level can hold them, with room for what the script writes."""
MAX_BYTES = 64 << 20
_LEFT_OUT = ("__pycache__", "node_modules", "runs", "wandb", "*.egg-info", "*.pyc", "*.pem", "*.key")
"""Patterns that are never copied. Nor are names that begin with a dot (keys, histories) and virtual environments."""


@dataclass(frozen=True)
class Project:
    """A packed project."""

    archive: Path
    """A tar file of plain files."""
    digest: str
    """SHA-256 of the archive."""

    @classmethod
    def pack(cls, folder: Path, without: Collection[str], leave_out: Collection[str], most: int, cache: Path) -> Project:
        """Pack a folder. `without`: files that each candidate brings itself. `leave_out`: patterns. `most`: bytes.

        Raises TaskError.
        """
        files, total = [], 0
        for path in _walk(folder, "", (*_LEFT_OUT, *leave_out)):
            total += (folder / path).stat().st_size
            files.append(path)
            if total > most or len(files) > MAX_FILES:
                raise TaskError(_too_much(folder, (*_LEFT_OUT, *leave_out), most))
        data = _archive(folder, [path for path in sorted(files) if path not in without])
        digest = hashlib.sha256(data).hexdigest()
        return cls(_store(data, digest, cache), digest)

    @classmethod
    def find(cls, digest: str, cache: Path) -> Project | None:
        """Return the project with this digest, if it is in the cache and intact."""
        path = _place(digest, cache)
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return cls(path, digest)
        return None

    def files(self) -> dict[str, bytes]:
        """The content of each file, by path."""
        with tarfile.open(self.archive) as tar:
            return {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry))}


def _walk(folder: Path, prefix: str, leave_out: Collection[str]) -> Iterator[str]:
    """Return the relative paths of regular files. Links are left out, because they may lead anywhere."""
    try:
        entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
    except OSError as error:
        raise TaskError(f"{folder / prefix} cannot be read: {error}.") from error
    for entry in entries:
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.name.startswith(".") or any(fnmatch(entry.name, p) or fnmatch(path, p.rstrip("/")) for p in leave_out):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                yield from _walk(folder, path, leave_out)
        elif entry.is_file(follow_symlinks=False):
            yield path


def _archive(folder: Path, files: list[str]) -> bytes:
    """Return a tar file that depends on the contents alone: no times, owners or permissions."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in files:
            try:
                data = (folder / path).read_bytes()
            except OSError as error:
                raise TaskError(f"{folder / path} cannot be read: {error}.") from error
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _place(digest: str, cache: Path) -> Path:
    return cache / f"project-{digest[:32]}.tar"


def _store(data: bytes, digest: str, cache: Path) -> Path:
    """Write the file if it does not exist, in one step by renaming."""
    path = _place(digest, cache)
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(data)
        os.replace(temporary, path)
    return path


def _too_much(folder: Path, leave_out: Collection[str], most: int) -> str:
    """Return the message with the largest entries; in a very large folder only the first files are counted."""
    sizes: dict[str, int] = {}
    for path in islice(_walk(folder, "", leave_out), 20 * MAX_FILES):
        top = path.partition("/")[0]
        sizes[top] = sizes.get(top, 0) + (folder / path).stat().st_size
    heavy = ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in sorted(sizes.items(), key=lambda i: -i[1])[:3])
    return (
        f"{folder} is too large to be copied for every run: more than {most / 2**20:,.0f} MiB or {MAX_FILES:,} files (most in: "
        f"{heavy}). Leave out what the script does not need with task.leave_out, name data that it only reads in "
        "task.readable, or raise task.copy."
    )
