"""Track the stage of each candidate of a run and what it has cost so far, from the run's events.

The search asks which candidates are under way, the budget what they will still cost, the feedback what a settled one
has cost, and the live view how many are being bred and trained.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.journal.codec import Row, read_candidate
from agent.journal.events import (
    Answered,
    Asked,
    Bred,
    EliteRetrained,
    Event,
    Proposed,
    Repaired,
    Retrained,
    SeedFailed,
    SeedRepeated,
    Settled,
)
from agent.llm import Completion
from agent.population.candidate import SEED_ID, Candidate, Variant


@dataclass(frozen=True, slots=True)
class CallCosts:
    """The costs of all model calls of one candidate."""

    usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price: `usd` is too low."""
    tokens: int = 0
    """Tokens of prompts and answers."""
    seconds: float = 0.0


@dataclass(slots=True)
class TrackedCandidate:
    """One candidate between its proposal and the moment the search has learned from it."""

    id: str
    candidate: Candidate | None = None
    """None where the journal was read for costs alone."""
    variant: Variant | None = None
    """Its program; None before it has one, or if an earlier process of the run bred it."""
    asking: bool = False
    """A model call is waiting for its answer."""
    evaluating: bool = False
    """Its evaluation was admitted and has not ended."""
    calls: int = 0
    """Answered model calls, repairs included."""
    usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price: `usd` is too low."""
    tokens: int = 0
    llm_seconds: float = 0.0
    """Seconds of its model calls."""
    evaluation_seconds: float = 0.0
    answer: str = ""
    """The last answer, from which the candidate was made or because of which it failed."""
    models: tuple[str, ...] = ()
    """Models that answered, in the order of their first answers; by failover these may be others than the proposed one."""
    breeding_costs: CallCosts | None = None
    """What its calls had cost when it got its program, or failed to get one; None before that."""

    @property
    def bred(self) -> bool:
        """Whether it has a program, or has failed to get one."""
        return self.breeding_costs is not None

    @property
    def seconds(self) -> float:
        """Seconds of its model calls and its evaluation together."""
        return self.llm_seconds + self.evaluation_seconds

    def model_for(self, proposed: str) -> str:
        """The model that a recipe's result is credited to: the proposed one, unless only others answered."""
        return proposed if proposed in self.models or not self.models else self.models[-1]

    def add_answer(self, model: str, usd: float | None, tokens: int, seconds: float, text: str) -> None:
        """Count one answered model call. `usd`: None for an unknown price."""
        self.asking = False
        self.calls += 1
        self.usd += usd or 0.0
        self.unpriced |= usd is None
        self.tokens += tokens
        self.llm_seconds += seconds
        self.answer = text
        if model not in self.models:
            self.models += (model,)

    def end_breeding(self) -> None:
        """Keep what its calls have cost so far; only the first call of this method counts."""
        if self.breeding_costs is None:
            self.breeding_costs = CallCosts(self.usd, self.unpriced, self.tokens, self.llm_seconds)


class Tracker:
    """All candidates of a run. Thread-safe.

    An event or row that is seen a second time, as in a resumed run, changes nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[str, TrackedCandidate] = {}
        self._settled: dict[str, TrackedCandidate] = {}
        """Settled, but the search has not learned from them yet."""
        self._closed: set[str] = set()
        self._evaluating: set[str] = set()
        """Ids of candidates, and of further trainings of a program (`SeedRepeated.id_of`, ...)."""

    def see(self, event: Event) -> None:
        """Take in an event of this process."""
        match event:
            case Proposed(candidate):
                self._propose(candidate.id, candidate)
            case Asked(id, call):
                self._ask(id, call)
            case Answered(id, call, completion):
                tokens = completion.usage.tokens_in + completion.usage.tokens_out
                self._answer(id, call, completion.model, completion.usd, tokens, completion.seconds, completion.text)
            case Bred(variant) | Repaired(variant):
                self._breed(variant.id, variant)
            case Settled(outcome, seconds):
                self._settle(outcome.id, seconds)
            case SeedRepeated(training_seed):
                self._end_evaluation(SeedRepeated.id_of(training_seed))
            case SeedFailed(training_seed):
                self._end_evaluation(SEED_ID)
                self._end_evaluation(SeedRepeated.id_of(training_seed))
            case Retrained(_, id, training_seed) | EliteRetrained(id, training_seed):
                self._end_evaluation(Retrained.id_of(id, training_seed))
            case _:
                pass

    def recall(
        self, rows: Iterable[Row], answers: Mapping[tuple[str, int], Completion] | None = None, *, candidates: bool = True
    ) -> None:
        """Take in the journal's rows, before the first event of this process.

        `answers`: by candidate and call, where the rows were read without their texts. `candidates`: whether the
        rows of proposals are complete, so that the candidates can be read from them.
        """
        for _, kind, key, data in rows:
            id, _, call = key.partition("/")
            match kind:
                case "drawn":
                    self._propose(id, read_candidate(data) if candidates else None)
                case "asked":
                    self._ask(id, int(call))
                case "answered":
                    tokens = data["tokens_in"] + data["tokens_out"]
                    known = answers.get((id, int(call))) if answers else None
                    text = known.text if known else data.get("text", "")
                    self._answer(id, int(call), data["model"], data["usd"], tokens, data["seconds"], text)
                case "bred" | "mended":
                    self._breed(id, None)
                case "settled":
                    self._settle(id, data.get("seconds"))

    def get(self, id: str) -> TrackedCandidate:
        """The candidate with this id; an empty one if it was never proposed, was given up or is closed."""
        with self._lock:
            return self._open.get(id) or self._settled.get(id) or TrackedCandidate(id)

    def close(self, id: str) -> TrackedCandidate:
        """Return the candidate as `get` does and forget it: the search has learned from it."""
        with self._lock:
            found = self.get(id)
            self._settled.pop(id, None)
            self._open.pop(id, None)
            self._closed.add(id)
            return found

    def open(self) -> tuple[TrackedCandidate, ...]:
        """The candidates that are under way, in the order of their proposal."""
        with self._lock:
            return tuple(self._open.values())

    def under_way(self, without: str) -> tuple[Candidate | Variant, ...]:
        """The open candidates except `without`, oldest first: each as a variant if it has a program."""
        return tuple(known for one in self.open() if one.id != without and (known := one.variant or one.candidate) is not None)

    def attach(self, variant: Variant) -> None:
        """Set the program of an open candidate that an earlier process has bred."""
        self._breed(variant.id, variant)

    def evaluations(self, without: str = "") -> int:
        """How many evaluations were admitted and have not ended, except that of `without`; noise trainings count too."""
        with self._lock:
            return len(self._evaluating - {without})

    def mark_asking(self, id: str) -> None:
        """Note that a model call for this candidate has started."""
        with self._lock:
            if one := self._open.get(id):
                one.asking = True

    def mark_evaluating(self, id: str) -> None:
        """Note that the evaluation of this candidate, or a noise training of the seed, was admitted."""
        with self._lock:
            self._evaluating.add(id)
            if one := self._open.get(id):
                one.evaluating = True

    def give_up(self, id: str) -> None:
        """Note that the run does not go on with this candidate: it is no longer under way, but has not settled."""
        with self._lock:
            self._open.pop(id, None)
            self._evaluating.discard(id)

    def _propose(self, id: str, candidate: Candidate | None) -> None:
        with self._lock:
            known = self._open.get(id) or self._settled.get(id)
            if known is None and id not in self._closed:
                self._open[id] = TrackedCandidate(id, candidate)

    def _ask(self, id: str, call: int) -> None:
        with self._lock:
            if (one := self._open.get(id)) and call >= one.calls:
                one.asking = True

    def _answer(self, id: str, call: int, model: str, usd: float | None, tokens: int, seconds: float, text: str) -> None:
        with self._lock:
            if (one := self._open.get(id)) and call >= one.calls:
                one.add_answer(model, usd, tokens, seconds, text)

    def _breed(self, id: str, variant: Variant | None) -> None:
        with self._lock:
            if one := self._open.get(id):
                one.end_breeding()
                one.asking = False
                one.variant = variant or one.variant

    def _settle(self, id: str, seconds: float | None) -> None:
        with self._lock:
            self._evaluating.discard(id)
            if one := self._open.pop(id, None):
                one.end_breeding()
                one.asking = one.evaluating = False
                one.evaluation_seconds += seconds or 0.0
                self._settled[id] = one

    def _end_evaluation(self, id: str) -> None:
        with self._lock:
            self._evaluating.discard(id)
