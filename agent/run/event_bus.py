"""Where every event of a run goes: journal, budget, branches, and whoever watches."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence

from agent.budget import Budget
from agent.core.objectives import Objective
from agent.journal.accounts import Accounts
from agent.journal.events import Event, RunEnded, Settled
from agent.journal.replay import Replay
from agent.journal.store import Journal
from agent.lineage import BranchWriter, Lineage, PlannedCommit, commit_message
from agent.population.candidate import Duplicate, Failure, Individual


class EventBus:
    """Journal first, then all who keep count, then the eyes: the order in which an event becomes true.

    Branches follow within seconds and are journaled once they are there: no thread waits for git.
    """

    def __init__(
        self,
        journal: Journal,
        lineage: Lineage,
        watch: Callable[[Event], None],
        budget: Budget,
        objectives: Sequence[Objective],
        seed: Individual,
        replay: Replay,
    ) -> None:
        self._journal, self._watch, self._budget = journal, watch, budget
        self._objectives, self._seed = objectives, seed
        self._committed = set(replay.commits)
        self._branches = BranchWriter(lineage, replay.commits, lambda events: journal.record(*events))
        self._heap = CollectorTuning()
        self._lock = threading.Lock()
        self.accounts = Accounts()
        self.accounts.recall(journal.events("answered", "settled"))

    def __call__(self, event: Event) -> None:
        """Raises MachineError if the journal or a branch cannot be written; the end of the run is recorded all the same."""
        self._journal.record(event)
        if not isinstance(event, RunEnded):
            self._branches.check()
        with self._lock:
            self._budget.see(event)
            self.accounts.see(event)
            self._heap.see(event)
            self._watch(event)
            if isinstance(event, Settled) and not isinstance(event.outcome, Duplicate):
                self._commit(event.outcome)

    def flush(self) -> None:
        """Returns when every branch is written. Raises MachineError."""
        self._branches.flush()

    def close(self) -> None:
        """Writes what is left, if it can be written."""
        self._branches.close()
        self._heap.close()

    def _commit(self, outcome: Individual | Failure) -> None:
        if outcome.genome is None or outcome.id in self._committed:
            return
        account = self.accounts.look(outcome.id)
        text = commit_message(outcome, self._seed, self._objectives, account.usd, account.models)
        failed = isinstance(outcome, Failure)
        self._branches.add(PlannedCommit(outcome.id, outcome.genome.files, outcome.candidate.parents, text, failed))
        self._committed.add(outcome.id)


EVERY = 250
"""Children between two looks. In a night of ten thousand the collector would take a fifth of the controller's time."""


class CollectorTuning:
    """A fold over the events of a run."""

    def __init__(self) -> None:
        self._settled = 0

    def see(self, event: Event) -> None:
        """Clears away what is left over, now and then, and leaves all else alone from then on."""
        if isinstance(event, Settled):
            self._settled += 1
            if self._settled % EVERY == 0:
                gc.collect()
                gc.freeze()

    def close(self) -> None:
        """The run is over: what it kept may go."""
        gc.unfreeze()
