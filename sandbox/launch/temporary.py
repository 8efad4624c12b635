"""Temporary folders of this process, all in one folder that is locked while the process lives.

What a killed process leaves behind is removed by the next one: its lock has ended with it, whatever its number was, and in
whatever container it ran.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import threading
from pathlib import Path

from sandbox.launch.scratch import remove

_PREFIX = "evolve-run-"
_ATTEMPTS = 20
_lock = threading.Lock()
_own: tuple[int, str, int] | None = None
"""(process, folder, descriptor of its lock)."""


def folder() -> str:
    """The folder of this process, made at first use. Raises OSError."""
    global _own
    with _lock:
        # After a fork it is the parent's, and some systems tidy up the temporary folder while processes run.
        if _own is None or _own[0] != os.getpid() or not os.path.isdir(_own[1]):
            parent = Path(tempfile.gettempdir())
            clear_abandoned(parent, _PREFIX)
            made, descriptor = _make(parent)
            os.chmod(made, 0o711)  # a process that has become the user `nobody` must reach its scratch folder in it
            _own = os.getpid(), made, descriptor
        return _own[1]


def close() -> None:
    """Remove the folder of this process, if it has made one."""
    global _own
    with _lock:
        own, _own = _own, None
    if own is not None and own[0] == os.getpid():
        remove(own[1])
        os.close(own[2])


def _make(parent: Path) -> tuple[str, int]:
    """A new folder and the descriptor of its lock. Another process may take it for abandoned before it is locked."""
    for _ in range(_ATTEMPTS):
        made = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        descriptor = os.open(made, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.isdir(made):
                return made, descriptor
        except BlockingIOError:
            pass  # it is being removed
        except OSError:  # a file system without locks: nobody will remove the folder
            return made, descriptor
        os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "a new folder is removed again and again", str(parent))


def clear_abandoned(parent: Path, prefix: str) -> None:
    """Remove this user's folders in `parent` whose names begin so, and which no living process holds."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(entry.path)


def clear_abandoned_parent(path: str) -> None:
    """Remove the folder of the process that `path` was made for, if that process is dead."""
    parent = os.path.dirname(path)
    if os.path.basename(parent).startswith(_PREFIX):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(parent)


def _remove_if_abandoned(path: str) -> None:
    found = os.lstat(path)
    if found.st_uid != os.geteuid():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError if its process lives
        remove(path)
    finally:
        os.close(descriptor)
