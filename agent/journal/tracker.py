"""Where each candidate of a run is, and what it has cost so far: one fold over the run's events.

The search asks which candidates are under way, the budget what they will still cost, the feedback what a settled one
has cost, the live view how many are being bred and trained. All of them read it here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.journal.codec import read_candidate
from agent.journal.events import Answered, Asked, Bred, Event, Proposed, Repaired, Settled
from agent.llm import Completion
from agent.population.candidate import Candidate, Variant

Row = tuple[float, str, str, Mapping[str, Any]]
"""Of the journal: time in seconds since the epoch, kind, key, data."""


@dataclass(slots=True)
class TrackedCandidate:
    """One candidate between its proposal and the moment the search has learned from it."""

    id: str
    candidate: Candidate | None = None
    """None where the journal was read for costs alone."""
    variant: Variant | None = None
    """Its parsed program, once this process has seen it."""
    bred: bool = False
    """It has a program, or has failed to get one: no model is asked for it any more."""
    asking: bool = False
    """A model call is out."""
    evaluating: bool = False
    """Its evaluation was admitted and has not ended."""
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
    """Those that answered, in the order of their first answers: another than the drawn one where one stood in."""

    @property
    def seconds(self) -> float:
        """Of its model calls and its evaluation together."""
        return self.llm_seconds + self.evaluation_seconds

    def model_for(self, drawn: str) -> str:
        """The model that a recipe's result is credited to: the drawn one, unless only others answered."""
        return drawn if drawn in self.models or not self.models else self.models[-1]


class Tracker:
    """Safe from several threads. Events that a resume passes by again change nothing."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[str, TrackedCandidate] = {}
        self._settled: dict[str, TrackedCandidate] = {}
        """Settled, and not yet closed by who learns from them."""
        self._closed: set[str] = set()

    def see(self, event: Event) -> None:
        """An event of this process."""
        match event:
            case Proposed(candidate):
                self._propose(candidate.id, candidate)
            case Asked(id):
                self.mark_asking(id)
            case Answered(id, _, completion):
                usage = completion.usage
                self._answer(
                    id, completion.model, completion.usd, usage.tokens_in + usage.tokens_out, completion.seconds, completion.text
                )
            case Bred(variant) | Repaired(variant):
                self._breed(variant.id, variant)
            case Settled(outcome, seconds):
                self._settle(outcome.id, seconds)
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
                    self._propose(id, read_candidate(dict(data)) if candidates else None)
                case "asked":
                    self.mark_asking(id)
                case "answered":
                    tokens = data["tokens_in"] + data["tokens_out"]
                    known = answers.get((id, int(call))) if answers else None
                    text = known.text if known else data.get("text", "")
                    self._answer(id, data["model"], data["usd"], tokens, data["seconds"], text)
                case "bred" | "mended":
                    self._breed(id, None)
                case "settled":
                    self._settle(id, data.get("seconds"))

    def get(self, id: str) -> TrackedCandidate:
        """As it stands; an empty one for a candidate that was never proposed or is closed."""
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

    def mark_asking(self, id: str) -> None:
        """A model call for this candidate is out."""
        with self._lock:
            if one := self._open.get(id):
                one.asking = True

    def mark_evaluating(self, id: str) -> None:
        with self._lock:
            if one := self._open.get(id):
                one.evaluating = True

    def give_up(self, id: str) -> None:
        """The run may not go on with this candidate: it is no longer under way, and has not settled either."""
        with self._lock:
            self._open.pop(id, None)

    def _propose(self, id: str, candidate: Candidate | None) -> None:
        with self._lock:
            known = self._open.get(id) or self._settled.get(id)
            if known is None and id not in self._closed:
                self._open[id] = TrackedCandidate(id, candidate)

    def _answer(self, id: str, model: str, usd: float | None, tokens: int, seconds: float, text: str) -> None:
        with self._lock:
            if one := self._open.get(id):
                one.asking = False
                one.usd += usd or 0.0
                one.unpriced |= usd is None
                one.tokens += tokens
                one.llm_seconds += seconds
                one.answer = text
                if model not in one.models:
                    one.models += (model,)

    def _breed(self, id: str, variant: Variant | None) -> None:
        with self._lock:
            if one := self._open.get(id):
                one.bred, one.asking = True, False
                one.variant = variant or one.variant

    def _settle(self, id: str, seconds: float | None) -> None:
        with self._lock:
            if one := self._open.pop(id, None):
                one.bred, one.asking, one.evaluating = True, False, False
                one.evaluation_seconds += seconds or 0.0
                self._settled[id] = one
