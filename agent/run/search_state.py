"""What the loop of a search works with: the parts that hold its state, and the pools that do its work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from agent.journal.events import EliteRetrained
from agent.operators import Brief, Context
from agent.population.archive import Archive
from agent.population.candidate import Candidate, Failure, Individual, Outcome, Variant
from agent.search.feedback import Feedback
from agent.search.recipes import RecipeSampler
from agent.search.reflection import Question
from agent.search.retraining import Retraining
from agent.search.settings import SearchSettings
from agent.search.steering import Steering

Owner = Callable[[Variant], str | None]
"""Says which candidate has the genome of a variant that was repaired: another one, itself before the repair, or none."""


class Breeding(Protocol):
    """Turns candidates into variants: a `BreedingPool`."""

    def submit(self, candidate: Candidate, context: Context) -> Future[Variant | Failure]: ...

    def ask(self, question: Question) -> Future[str]: ...


class Evaluation(Protocol):
    """Turns variants into individuals: an `EvaluationPool`."""

    def submit(self, variant: Variant, owner: Owner) -> Future[Outcome]: ...

    def retrain(self, elite: Individual, training_seed: int) -> Future[EliteRetrained]: ...


@dataclass(frozen=True)
class SearchState:
    """The parts of a search that its decisions depend on or change."""

    archive: Archive
    brief: Brief
    settings: SearchSettings
    sampler: RecipeSampler
    feedback: Feedback
    retraining: Retraining
    steering: Steering | None = None
