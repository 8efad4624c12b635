"""Where each candidate of a run is, and what it has cost so far: one fold over the run's events.

The search asks which candidates are under way, the budget what they will still cost, the feedback what a settled one
has cost, the live view how many are being bred and trained. All of them read it here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.journal.codec import Row, read_candidate
from agent.journal.events import Answered, Asked, Bred, Event, Proposed, Repaired, Retrained, SeedRepeated, Settled
from agent.llm import Completion
from agent.population.candidate import Candidate, Variant


@dataclass(frozen=True, slots=True)
class CallCosts:
    """What the model calls of one candidate have cost together."""

    usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price: `usd` is too low."""
    tokens: int = 0
    """Of prompts and answers."""
    seconds: float = 0.0


@dataclass(slots=True)
class TrackedCandidate:
    """One candidate between its proposal and the moment the search has learned from it."""

    id: str
    candidate: Candidate | None = None
    """None where the journal was read for costs alone."""
    variant: Variant | None = None
    """Its program. None before it has one, and where an earlier process of the run bred it."""
    asking: bool = False
    """A model call is out."""
    evaluating: bool = False
    """Its evaluation was admitted and has not ended."""
    calls: int = 0
    """Answered model calls, repairs included."""
    usd: float = 0.0
    unpriced: bool = False
    """Some call had no known price: `usd` is too low."""
    tokens: int = 0
    llm_seconds: float = 0.0
    """Of its model calls."""
    evaluation_seconds: float = 0.0
    answer: str = ""
    """The last answer: what the candidate was made of, or failed by."""
    models: tuple[str, ...] = ()
    """Those that answered, in the order of their first answers: others than the proposed one where they stood in."""
    breeding_costs: CallCosts | None = None
    """What its calls had cost when it first had a program, or failed to get one; None before."""

    @property
    def bred(self) -> bool:
        """It has a program, or has failed to get one."""
        return self.breeding_costs is not None

    @property
    def seconds(self) -> float:
        """Of its model calls and its evaluation together."""
        return self.llm_seconds + self.evaluation_seconds

    def model_for(self, proposed: str) -> str:
        """The model that a recipe's result is credited to: the proposed one, unless only others answered."""
        return proposed if proposed in self.models or not self.models else self.models[-1]

    def add_answer(self, model: str, usd: float | None, tokens: int, seconds: float, text: str) -> None:
        """One more model call was answered. `usd`: None for an unknown price."""
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
        """Keeps what its calls have cost by now; only the first time."""
        if self.breeding_costs is None:
            self.breeding_costs = CallCosts(self.usd, self.unpriced, self.tokens, self.llm_seconds)


class Tracker:
    """All candidates of a run. Safe from several threads.

    What it knows already changes nothing: an event that a resume passes by again, a row that is read twice.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[str, TrackedCandidate] = {}
        self._settled: dict[str, TrackedCandidate] = {}
        """Settled, and not yet closed by who learns from them."""
        self._closed: set[str] = set()
        self._evaluating: set[str] = set()
        """Ids of candidates, and of trainings of the seed for the noise (`SeedRepeated.id_of`)."""

    def see(self, event: Event) -> None:
        """An event of this process."""
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
            case Retrained(_, id, training_seed):
                self._end_evaluation(Retrained.id_of(id, training_seed))
            case _:
                pass

    def recall(
        self, rows: Iterable[Row], answers: Mapping[tuple[str, int], Completion] | None = None, *, candidates: bool = True
    ) -> None:
        """The journal's rows, before the first event of this process.

        `answers`: by candidate and call, where the rows were read without their texts. `candidates`: the rows of
        proposals are whole, so that the candidates themselves can be read from them.
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
        """As it stands; an empty one for a candidate that was never proposed, was given up or is closed."""
        with self._lock:
            return self._open.get(id) or self._settled.get(id) or TrackedCandidate(id)

    def close(self, id: str) -> TrackedCandidate:
        """The same, and forgets it: the search has learned from it."""
        with self._lock:
            found = self.get(id)
            self._settled.pop(id, None)
            self._open.pop(id, None)
            self._closed.add(id)
            return found

    def open(self) -> tuple[TrackedCandidate, ...]:
        """Those that are under way, in the order of their proposal."""
        with self._lock:
            return tuple(self._open.values())

    def under_way(self, beside: str) -> tuple[Candidate | Variant, ...]:
        """What is known of the open candidates beside one, oldest first: its program if it has one."""
        return tuple(
            known for one in self.open() if one.id != beside and (known := one.variant or one.candidate) is not None
        )

    def attach(self, variant: Variant) -> None:
        """The program of an open candidate, where an earlier process has bred it."""
        self._breed(variant.id, variant)

    def evaluations(self, beside: str = "") -> int:
        """Evaluations that were admitted and have not ended, trainings of the seed for the noise included."""
        with self._lock:
            return len(self._evaluating - {beside})

    def mark_asking(self, id: str) -> None:
        """A model call for this candidate is out."""
        with self._lock:
            if one := self._open.get(id):
                one.asking = True

    def mark_evaluating(self, id: str) -> None:
        """The evaluation of this candidate, or a training of the seed for the noise, was admitted."""
        with self._lock:
            self._evaluating.add(id)
            if one := self._open.get(id):
                one.evaluating = True

    def give_up(self, id: str) -> None:
        """The run may not go on with this candidate: it is no longer under way, and has not settled either."""
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
