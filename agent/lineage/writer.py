"""Writes commits in batches from a thread of its own: one commit costs git 11 ms by itself and half of one among many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from agent.journal.events import Committed
from agent.lineage.lineage import Lineage
from agent.lineage.stream import Planned

LINGER = 1.0
"""Seconds that a commit waits for others to come along."""
BATCH = 256
PACK_AFTER = 1024
"""Commits after which their objects and references are packed."""


class Branches:
    """What is added is committed within seconds, in the order of adding; so a child comes after its parents.

    A failure to write is raised to all who add, check or flush from then on. What a process did not live to write is missing
    from the journal too: the next one adds it again, and commits that are there already are accepted.
    """

    def __init__(
        self, lineage: Lineage, known: Mapping[str, str], written: Callable[[Sequence[Committed]], None]
    ) -> None:
        """`known`: commits of earlier processes by id; `written` is told of each batch from the writing thread."""
        self._lineage, self._written = lineage, written
        self._shas = dict(known)
        self._ids = set(known)
        self._waiting: list[Planned] = []
        self._change = threading.Condition()
        self._hurry = 0
        self._work: Future[None] | None = None
        self._unpacked: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="branches")

    def add(self, planned: Planned) -> None:
        """`parents` are ids of what was added before, or is known. Raises MachineError if a batch before this one failed."""
        self.check()
        with self._change:
            self._waiting.append(planned)
            self._ids.add(planned.id)
            self._change.notify_all()
            if self._work is None:
                self._work = self._thread.submit(self._write)

    def has(self, id: str) -> bool:
        """Was it added already, or committed by an earlier process?"""
        return id in self._ids

    def check(self) -> None:
        """Raises MachineError if a batch could not be written."""
        work = self._work
        if work is not None and work.done():
            work.result()

    def flush(self) -> None:
        """Returns when everything that was added is committed. Raises MachineError."""
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
        """Commits what is waiting, unless that fails, and ends the thread."""
        with self._change:
            self._hurry += 1
            self._change.notify_all()
        self._thread.shutdown()

    def _write(self) -> None:
        """Until nothing is waiting. An exception stays in the future, and so the next one hears of it."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._hurry or len(self._waiting) >= BATCH, LINGER)
                batch = self._waiting[:BATCH]
                if not batch:
                    self._work = None
                    return
            resolved = [replace(p, parents=[self._shas.get(parent, parent) for parent in p.parents]) for p in batch]
            commits = self._lineage.commit_all(resolved)
            self._written([Committed(p.id, c.branch, c.sha) for p, c in zip(batch, commits, strict=True)])
            self._shas |= {p.id: c.sha for p, c in zip(batch, commits, strict=True)}
            self._unpacked += [c.sha for c in commits]
            with self._change:
                del self._waiting[: len(batch)]
            if len(self._unpacked) >= PACK_AFTER:
                self._lineage.pack(self._unpacked)
                self._unpacked = []
