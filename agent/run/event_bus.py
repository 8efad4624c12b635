"""Pass every event of a run to the journal first, then to the budget and the tracker, the live view and the branches."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

from agent.budget import Budget
from agent.journal.events import Event, RunEnded, Settled
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.lineage import BranchWriter, PlannedCommit
from agent.population.candidate import Duplicate, Failure, Individual
from agent.run.messages import MessageWriter

FREEZE_EVERY = 250
"""Settled candidates between two freezes. Without them, the garbage collector would take a fifth of the controller's time in
a run of ten thousand candidates."""


class EventBus:
    """Called with each event, from several threads. The journal comes first: nothing acts on an event that is not on disk.

    Branches are written within seconds and then journaled, so that no thread waits for git.
    """

    def __init__(
        self,
        journal: Journal,
        branches: BranchWriter,
        tracker: Tracker,
        budget: Budget,
        watch: Callable[[Event], None],
        messages: MessageWriter,
    ) -> None:
        self._journal, self._branches, self._tracker, self._budget = journal, branches, tracker, budget
        self._watch, self._messages = watch, messages
        self._freezer = HeapFreezer()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Raises MachineError if the journal or a branch cannot be written; the end of the run is recorded all the same."""
        self._journal.record(event)
        if not isinstance(event, RunEnded):
            self._branches.check()
        with self._lock:
            self._budget.see(event)  # and the tracker with it
            self._watch(event)
            self._messages.see(event)
            if isinstance(event, Settled):
                self._freezer.add_settled()
                if not isinstance(event.outcome, Duplicate):
                    self._commit(event.outcome)

    def flush(self) -> None:
        """Wait until every branch is written. Raises MachineError."""
        self._branches.flush()

    def close(self) -> None:
        """Write the remaining branches if possible, and unfreeze the heap."""
        self._branches.close()
        self._freezer.close()

    def _commit(self, outcome: Individual | Failure) -> None:
        if outcome.genome is None or self._branches.has(outcome.id):
            return
        text = self._messages.write(outcome, self._tracker.get(outcome.id))
        failed = isinstance(outcome, Failure)
        self._branches.add(PlannedCommit(outcome.id, outcome.genome.files, outcome.candidate.parents, text, failed))


class HeapFreezer:
    """Freeze long-lived objects so that the garbage collector skips them: a run keeps all its candidates until it ends."""

    def __init__(self) -> None:
        self._settled = 0

    def add_settled(self) -> None:
        """Count a settled candidate; freeze all living objects after every `FREEZE_EVERY` of them."""
        self._settled += 1
        if self._settled % FREEZE_EVERY == 0:
            gc.collect()
            gc.freeze()

    def close(self) -> None:
        """Let the garbage collector look at all objects again."""
        gc.unfreeze()
