"""Where every event of a run goes: the journal first, then all who keep count, then whoever watches, then the branches."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

from agent.budget import Budget
from agent.journal.events import Event, RunEnded, Settled
from agent.journal.store import Journal
from agent.journal.tracker import TrackedCandidate, Tracker
from agent.lineage import BranchWriter, PlannedCommit
from agent.population.candidate import Duplicate, Failure, Individual

Describe = Callable[[Individual | Failure, TrackedCandidate], str]
"""The message of a candidate's commit."""

FREEZE_EVERY = 250
"""Settled candidates between two freezes. In a night of ten thousand, the garbage collector would take a fifth of the
controller's time."""


class EventBus:
    """Journal first: the order in which an event becomes true. Called from several threads.

    Branches follow within seconds and are journaled once they are there: no thread waits for git.
    """

    def __init__(
        self,
        journal: Journal,
        branches: BranchWriter,
        tracker: Tracker,
        budget: Budget,
        watch: Callable[[Event], None],
        describe: Describe,
    ) -> None:
        self._journal, self._branches, self._tracker, self._budget = journal, branches, tracker, budget
        self._watch, self._describe = watch, describe
        self._heap = FrozenHeap()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Raises MachineError if the journal or a branch cannot be written; the end of the run is recorded all the same."""
        self._journal.record(event)
        if not isinstance(event, RunEnded):
            self._branches.check()
        with self._lock:
            self._budget.see(event)  # and the tracker with it
            self._watch(event)
            if isinstance(event, Settled):
                self._heap.add_settled()
                if not isinstance(event.outcome, Duplicate):
                    self._commit(event.outcome)

    def flush(self) -> None:
        """Returns when every branch is written. Raises MachineError."""
        self._branches.flush()

    def close(self) -> None:
        """Writes what is left, if it can be written."""
        self._branches.close()
        self._heap.close()

    def _commit(self, outcome: Individual | Failure) -> None:
        if outcome.genome is None or self._branches.has(outcome.id):
            return
        text = self._describe(outcome, self._tracker.get(outcome.id))
        failed = isinstance(outcome, Failure)
        self._branches.add(PlannedCommit(outcome.id, outcome.genome.files, outcome.candidate.parents, text, failed))


class FrozenHeap:
    """Freeze long-lived objects so that the garbage collector skips them: a run keeps its candidates to its end."""

    def __init__(self) -> None:
        self._settled = 0

    def add_settled(self) -> None:
        """One more candidate is kept; now and then all that is alive is frozen."""
        self._settled += 1
        if self._settled % FREEZE_EVERY == 0:
            gc.collect()
            gc.freeze()

    def close(self) -> None:
        """The run is over: the collector may look at everything again."""
        gc.unfreeze()
