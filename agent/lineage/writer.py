"""Write commits in batches, in a separate thread.

A single commit takes git 11 ms; in a batch, each takes half a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from agent.journal.events import Committed
from agent.lineage.fast_import import PlannedCommit
from agent.lineage.lineage import Lineage

LINGER = 1.0
"""Seconds that a batch waits for more commits."""
BATCH = 256
"""The most commits in one batch."""
PACK_AFTER = 1024
"""Commits after which their objects and references are packed."""


class BranchWriter:
    """Writes the added commits within seconds, in the order of adding, so that a candidate comes after its parents.

    After an error, every call of add, check or flush raises it. Commits that a killed process did not write are missing
    from the journal too: the next process adds them again, and accepts those that exist.
    """

    def __init__(self, lineage: Lineage, known: Mapping[str, str], on_written: Callable[[Sequence[Committed]], None]) -> None:
        """`known`: hashes of earlier processes' commits by id; `on_written`: called with each batch, by the writing thread."""
        self._lineage, self._on_written = lineage, on_written
        self._hashes = dict(known)
        self._ids = set(known)
        self._waiting: list[PlannedCommit] = []
        self._change = threading.Condition()
        self._hurry = 0
        """How many callers wait until everything is written: meanwhile batches do not wait for more commits."""
        self._work: Future[None] | None = None
        self._unpacked: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="branches")

    def add(self, planned: PlannedCommit) -> None:
        """Add a commit whose `parents` are ids that were added before or are known. Raises MachineError if a batch has failed."""
        self.check()
        with self._change:
            self._waiting.append(planned)
            self._ids.add(planned.id)
            self._change.notify_all()
            if self._work is None:
                self._work = self._thread.submit(self._write)

    def has(self, id: str) -> bool:
        """Whether the commit of this id was added already, or written by an earlier process."""
        return id in self._ids

    def check(self) -> None:
        """Raises MachineError if a batch could not be written."""
        work = self._work
        if work is not None and work.done():
            work.result()

    def flush(self) -> None:
        """Wait until everything that was added is committed. Raises MachineError."""
        with self._change:
            work = self._work
            self._hurry += 1
            self._change.notify_all()
        try:
            if work is not None:
                work.result()
        finally:
            with self._change:
                self._hurry -= 1

    def close(self) -> None:
        """Write the waiting commits, unless that fails, and end the thread."""
        with self._change:
            self._hurry += 1
            self._change.notify_all()
        self._thread.shutdown()

    def _write(self) -> None:
        """Write batches until nothing is waiting. An exception stays in `self._work`, where `check` finds it."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._hurry or len(self._waiting) >= BATCH, LINGER)
                batch = self._waiting[:BATCH]
                if not batch:
                    self._work = None
                    return
            resolved = [replace(one, parents=[self._hashes.get(id, id) for id in one.parents]) for one in batch]
            commits = self._lineage.commit_all(resolved)
            self._on_written([Committed(one.id, commit.branch, commit.sha) for one, commit in zip(batch, commits, strict=True)])
            self._hashes |= {one.id: commit.sha for one, commit in zip(batch, commits, strict=True)}
            self._unpacked += [commit.sha for commit in commits]
            with self._change:
                del self._waiting[: len(batch)]
            if len(self._unpacked) >= PACK_AFTER:
                self._lineage.pack(self._unpacked)
                self._unpacked = []
