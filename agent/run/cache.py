"""Where decoded data is kept if the user's own cache folder cannot be written, as in many containers."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agent.core.errors import UserError
from agent.run.config import cache_folder

_T = TypeVar("_T")
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT)
"""Errors that say that a folder cannot be written, and not that a disk is full."""


def with_cache(work: Callable[[Path], _T], say: Callable[[str], None]) -> _T:
    """`work` with the cache folder; if that cannot be written, with a temporary one, which `say` is told in a sentence.

    What lies in a read-only cache already is used. Raises UserError if there is no place for a temporary folder either.
    """
    cache = cache_folder()
    why = "there is no home folder"
    if cache.is_absolute():
        try:
            return work(cache)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            why = error.strerror or str(error)
    fallback = _temporary(cache)
    kept = f"so that data is kept in {fallback}"
    say(f"The cache folder {cache} cannot be written ({why}), {kept}. EVOLVE_CACHE names another folder.")
    return work(fallback)


def _temporary(cache: Path) -> Path:
    """A folder of this user's alone, the same each time if nobody else has taken its name."""
    try:
        folder = Path(tempfile.gettempdir()) / f"guided-evolution-cache-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
        return Path(tempfile.mkdtemp(prefix="guided-evolution-cache-"))
    except OSError as error:
        neither = f"Neither the cache folder {cache} nor a temporary one can be written"
        raise UserError(f"{neither} ({error.strerror}): set EVOLVE_CACHE.") from None


def write_trouble(folder: Path) -> str:
    """Why nothing can be written into this folder, by trying; empty if something can. What does not exist is not made."""
    existing = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    try:
        with tempfile.NamedTemporaryFile(prefix=".evolve-try-", dir=existing) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
