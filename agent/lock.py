"""One process at a time works on a run: an advisory lock on a file of the run folder, gone with its process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from agent.errors import MachineError, UserError

_TRIES, _PAUSE = 20, 0.01
"""Seconds between tries: who looks with `is_locked` holds the lock for some microseconds, and that is no refusal."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Raises UserError if another process works on the run, MachineError if the file system takes no lock."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("a"))
            taken = any(_take(file) for _ in range(_TRIES))
        except OSError as error:
            raise MachineError(f"{path} cannot be locked: {error}.") from error
        if not taken:
            raise UserError(f"Another process is working on {path.parent}; watch it with `evolve status`.")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_PAUSE)
        return False
    return True


def is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def owner(path: Path) -> int | None:
    """The id of the process that works on the run; None if none does."""
    if not is_locked(path):
        return None
    text = path.read_text()
    return int(text) if text.isdecimal() else None
