"""The folder of a run: the names of its files, and the lock by which only one process at a time works on it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import MachineError, UserError
from agent.journal.store import Journal

_IGNORE_ALL = "# A run of Guided Evolution: git ignores this folder.\n*\n"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    root: Path

    def check_exists(self) -> None:
        """Raises UserError if the folder holds no run."""
        if not self.journal.is_file():
            raise UserError(f"{self.root} holds no run: there is no {self.journal.name} in it.")

    def make(self, config: str) -> None:
        """Make the folder with its configuration and an empty journal. A rename at the end makes it appear complete.

        Raises UserError if another process has made it meanwhile, MachineError if it cannot be made.
        """
        draft = RunFolder(self.root.with_name(f".{self.name}.{os.getpid()}"))
        try:
            draft.root.mkdir(parents=True)
            draft.ignore.write_text(_IGNORE_ALL)
            draft.config.write_text(config, encoding="utf-8")
            Journal(draft.journal).close()
            os.rename(draft.root, self.root)
        except OSError as error:
            if self.root.exists():
                raise UserError(f"Another process has just made {self.root}: choose another --out.") from None
            raise MachineError(f"The run folder {self.root} cannot be made: {error}.") from error
        finally:
            shutil.rmtree(draft.root, ignore_errors=True)

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def ignore(self) -> Path:
        """Keeps `git add` from taking up the folder, where that lies in a user's repository."""
        return self.root / ".gitignore"

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
        """The user's text for every prompt; read again whenever it changes."""
        return self.root / "guidance.md"

    @property
    def frozen(self) -> Path:
        """Names of frozen blocks, one on each line, which replace those of the configuration; read like `guidance`."""
        return self.root / "frozen.txt"

    @property
    def lock(self) -> Path:
        return self.root / "lock"


_PATIENCE, _POLL = 0.2, 0.01
"""Seconds to wait for the lock, and between two tries: `is_locked` in another process holds it for some microseconds."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run, which ends with the process at the latest. The file contains the process id.

    Raises UserError if another process works on the run, MachineError if the file system does not support locks.
    """
    from filelock import FileLock, Timeout  # imported late: it loads asyncio, which commands that only read do not need

    lock = FileLock(path, timeout=_PATIENCE, poll_interval=_POLL, fallback_to_soft=False)
    try:
        while not lock.is_locked:
            try:
                lock.acquire()
            except Timeout:
                if is_locked(path):  # else others were only looking
                    message = f"Another process is working on {path.parent}; watch it with `evolve status`."
                    raise UserError(message) from None
        path.write_text(str(os.getpid()))
    except OSError as error:
        raise MachineError(f"{path} cannot be locked: {error}.") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock. Works on a read-only file system too, unlike filelock."""
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
