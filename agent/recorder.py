"""Where every event of a run goes: journal, budget, branches, eyes."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from agent.accounts import Accounts
from agent.budget import Budget
from agent.events import Answered, Committed, Event, Memo, Settled
from agent.fitness import Objective
from agent.individual import Duplicate, Failure, Individual
from agent.journal import Journal
from agent.lineage import Lineage, message


class Recorder:
    """Journal first, then the branch, then the eyes: the order in which an event becomes true. One event at a time."""

    def __init__(
        self,
        journal: Journal,
        lineage: Lineage,
        watch: Callable[[Event], None],
        budget: Budget,
        objectives: Sequence[Objective],
        seed: Individual,
        memo: Memo,
    ) -> None:
        self._journal, self._lineage, self._watch, self._budget = journal, lineage, watch, budget
        self._objectives, self._seed = objectives, seed
        self._commits = dict(memo.commits)
        self._usd: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self.accounts = Accounts()
        self.accounts.recall(journal.events("answered", "settled"))

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._journal.record(event)
            self._budget.see(event)
            self.accounts.see(event)
            if isinstance(event, Answered) and event.completion.usd:
                self._usd[event.id] += event.completion.usd
            if isinstance(event, Settled) and not isinstance(event.outcome, Duplicate):
                self._commit(event.outcome)
            self._watch(event)

    def _commit(self, outcome: Individual | Failure) -> None:
        if outcome.genome is None or outcome.id in self._commits:
            return
        parents = [self._commits[parent] for parent in outcome.birth.parents]
        text = message(outcome, self._seed, self._objectives, self._usd[outcome.id])
        failed = isinstance(outcome, Failure)
        commit = self._lineage.commit(outcome.id, outcome.genome.files, parents, text, failed=failed)
        self._commits[outcome.id] = commit.sha
        self._journal.record(Committed(outcome.id, commit.branch, commit.sha))
