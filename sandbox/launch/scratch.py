"""The scratch folder of a call without a private root: an ordinary folder, watched and removed from outside.

The candidate may fill it with anything, so nothing here recurses or relies on a path being short or readable.
"""

from __future__ import annotations

import contextlib
import os

MAX_ENTRIES = 4096


def is_over(folder: str, limit: int) -> bool:
    """Whether the folder holds more than `limit` bytes, more than MAX_ENTRIES entries, or a folder that cannot be read."""
    total, entries, waiting = 0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if total > limit or entries > MAX_ENTRIES:
                        return True
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed after it was listed
        except OSError:
            return True
    return False


def remove(folder: str) -> None:
    """Remove the folder, however deep it is: entries of a subfolder are moved up first. No process of the call may be left."""
    with contextlib.suppress(OSError):
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    if inner.is_dir(follow_symlinks=False):
                        os.chmod(inner.path, 0o700)  # a folder that is not writable cannot be moved
                        os.rename(inner.path, os.path.join(folder, os.urandom(8).hex()))
                    else:
                        os.unlink(inner.path)
                os.rmdir(entry.path)
        os.rmdir(folder)
