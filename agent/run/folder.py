"""The folder of a run: owns the name of every file in it, and the lock that lets one process at a time work on it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import MachineError, UserError


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def journal(self) -> Path:
        return self.root / "journal.db"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def report_markdown(self) -> Path:
        return self.root / "report.md"

    @property
    def log(self) -> Path:
        return self.root / "run.log"

    @property
    def guidance(self) -> Path:
        """Words of the user's for every prompt; read again whenever it changes."""
        return self.root / "guidance.md"

    @property
    def frozen(self) -> Path:
        """Names of blocks that must not evolve, a line each, instead of the configuration's; read like `guidance`."""
        return self.root / "frozen.txt"

    @property
    def lock(self) -> Path:
        return self.root / "lock"


_PATIENCE, _POLL = 0.2, 0.01
"""Seconds: a process that only looks, by `is_locked`, holds the lock for some microseconds, which is no refusal."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a run, which goes with its process; the file holds the process's id.

    Raises UserError if another process works on the run, MachineError if the file system takes no lock.
    """
    from filelock import FileLock, Timeout  # late: it loads asyncio, which no reading command needs

    lock = FileLock(path, timeout=_PATIENCE, poll_interval=_POLL, fallback_to_soft=False)
    try:
        lock.acquire()
        path.write_text(str(os.getpid()))
    except Timeout:
        raise UserError(f"Another process is working on {path.parent}; watch it with `evolve status`.") from None
    except OSError as error:
        raise MachineError(f"{path} cannot be locked: {error}.") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Works where nothing can be written too, which filelock does not."""
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
