"""The messages of a run's commits: each individual is told against what was known of its parents and the seed when it settled."""

from __future__ import annotations

from dataclasses import replace

from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.journal.events import EliteRetrained, Event, NoiseMeasured, Settled
from agent.journal.header import recorded_units
from agent.journal.readings import Measured, against_parents_and_seed, measured
from agent.journal.store import Journal
from agent.journal.tracker import TrackedCandidate
from agent.lineage import commit_message
from agent.population.candidate import SEED_ID, Failure, Individual


class MessageWriter:
    """Sees each event of the run, and writes the message of a candidate that has settled. Its caller holds a lock."""

    def __init__(self, journal: Journal, objectives: tuple[Objective, ...]) -> None:
        """`journal`: what earlier processes of the run have recorded."""
        self._objectives = objectives
        self._known = {one.id: one for one in measured(journal)}
        units = recorded_units(journal)
        self._noise: Noise | None = units.noise if units else None

    def see(self, event: Event) -> None:
        """Takes up what was measured."""
        if isinstance(event, NoiseMeasured):
            self._noise = event.noise
        elif isinstance(event, Settled) and isinstance(event.outcome, Individual):
            self._known.setdefault(event.outcome.id, Measured(event.outcome.id, (event.outcome.fitness,)))
        elif isinstance(event, EliteRetrained) and event.fitness and (before := self._known.get(event.id)):
            self._known[event.id] = replace(before, readings=(*before.readings, event.fitness))

    def write(self, outcome: Individual | Failure, tracked: TrackedCandidate) -> str:
        """The whole message. `tracked`: what is known of the candidate's costs."""
        against = []
        if isinstance(outcome, Individual) and outcome.id != SEED_ID:
            first = Measured(outcome.id, (outcome.fitness,))
            parents = outcome.candidate.parents
            against = against_parents_and_seed(first, parents, self._known, self._objectives, self._noise)
        return commit_message(outcome, against, self._objectives, tracked.usd, tracked.models, is_priced=not tracked.unpriced)
