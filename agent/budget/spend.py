"""What the events of a run say of its costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.journal.events import Answered, Asked, Bred, Event, Proposed, Repeated, Settled
from agent.population.candidate import SEED_ID, Individual

_SOON = 50
_FAR = 256
"""How many of the last values a running mean is about of: few for what is asked next, more for how far a run will get."""


@dataclass(frozen=True)
class Guess:
    """What one child is believed to cost until the first ones have told."""

    usd: float = 0.0
    tokens: float = 0.0
    breeding_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    gpu_seconds: float = 0.0


NOTHING = Guess()


class Mean:
    """A running mean that forgets slowly: plain at first, then exponentially weighted."""

    def __init__(self, guess: float = 0.0, memory: int = _SOON) -> None:
        self.value, self._memory, self._count = guess, memory, 0

    @property
    def known(self) -> bool:
        return self._count > 0

    def add(self, value: float) -> None:
        self._count += 1
        weight = max(1 / self._count, 1 / self._memory)
        self.value = value if self._count == 1 else self.value + weight * (value - self.value)


class _Child:
    """One that was drawn and has not settled."""

    def __init__(self) -> None:
        self.usd, self.tokens, self.seconds, self.gpu_seconds = 0.0, 0, 0.0, 0.0
        self.asking = self.bred = self.priced_in_part = False


class Spend:
    """What a run has spent and has under way: a fold over its events, each of which counts once."""

    def __init__(self, guess: Guess = NOTHING) -> None:
        self.started: float | None = None
        """Seconds since the epoch of the start from which `limits.until` is meant: the run's first, if no later one said so."""
        self.seconds = 0.0
        """Wall time of all processes of the run up to the last event."""
        self.usd = 0.0
        self.tokens_in = self.tokens_out = 0
        self.llm_calls = self.unpriced_calls = 0
        self.evaluation_seconds = self.gpu_seconds = 0.0
        self.variants = self.settled = 0
        """Children drawn; children settled, whatever became of them. The seed is neither."""
        self.call_usd, self.call_tokens = Mean(guess.usd), Mean(guess.tokens)
        self.call_seconds = Mean(guess.breeding_seconds)
        # of one child, from being drawn to having its code:
        self.child_usd, self.child_tokens = Mean(guess.usd), Mean(guess.tokens)
        self.child_seconds = Mean(guess.breeding_seconds)
        # of one evaluation:
        self.evaluation, self.gpu = Mean(guess.evaluation_seconds), Mean(guess.gpu_seconds)
        # of one settled child, and so with the share of those that are never evaluated:
        self.variant_usd, self.variant_tokens = Mean(memory=_FAR), Mean(memory=_FAR)
        self.variant_evaluation, self.variant_gpu = Mean(memory=_FAR), Mean(memory=_FAR)
        self.ends: deque[float] = deque([0.0], _FAR + 1)
        """`seconds` at which the last children settled."""
        self.evaluating: set[str] = set()
        self._children: dict[str, _Child] = {}
        self._seen: set[tuple[str, str]] = set()

    @property
    def breeding(self) -> int:
        """Children under way that have no code yet."""
        return sum(not child.bred for child in self._children.values())

    @property
    def in_flight(self) -> int:
        """Children under way."""
        return len(self._children)

    @property
    def usd_per_child(self) -> float:
        return self.child_usd.value if self.child_usd.known else max(self.child_usd.value, self.call_usd.value)

    @property
    def usd_in_flight(self) -> float:
        """What the children under way are expected to cost still; a call that is out costs at least a call."""
        each, call = self.usd_per_child, self.call_usd.value
        bred = (c for c in self._children.values() if not c.bred)
        return sum(max(each - child.usd, call if child.asking else 0.0) for child in bred)

    @property
    def tokens_in_flight(self) -> float:
        return sum(max(self.child_tokens.value - c.tokens, 0.0) for c in self._children.values() if not c.bred)

    @property
    def gpu_seconds_in_flight(self) -> float:
        return self.in_flight * self.gpu.value

    def see(self, event: Event) -> None:
        """An event of this process. `started` and `seconds` are the caller's to set, who has the clock."""
        match event:
            case Proposed(candidate):
                self._drawn(candidate.id)
            case Asked(id, _):
                self.ask(id)
            case Answered(id, call, completion):
                usage = completion.usage
                self._answered(id, str(call), completion.usd, usage.tokens_in, usage.tokens_out, completion.seconds)
            case Bred(variant):
                self._bred(variant.id)
            case Settled(outcome, seconds, gpus):
                stages = outcome.evidence.seconds if isinstance(outcome, Individual) else None
                self._settled(outcome.id, seconds, gpus, stages)
            case Repeated(training_seed, _, _, seconds, gpus):
                self.evaluating.discard(Repeated.id_of(training_seed))
                self._repeated(str(training_seed), seconds, gpus)
            case _:
                pass

    def recall(self, rows: Iterable[tuple[float, str, str, Mapping[str, Any]]]) -> None:
        """The journal's rows (`Journal.costs()`): what earlier processes did, and for how long.

        Their time is read from the rows, written by the wall clock: steps backward count as nothing, but while a
        machine slept cannot be told from work.
        """
        running, previous = False, 0.0
        for moment, kind, key, data in rows:
            if running and kind != "started":
                self.seconds += max(0.0, moment - previous)
            previous = moment
            id, _, call = key.partition("/")
            match kind:
                case "started":
                    running = True
                    self.started = moment if self.started is None or data.get("until_anew") else self.started
                case "ended":
                    running = False
                case "drawn":
                    self._drawn(key)
                case "asked":
                    self.ask(id)
                case "answered":
                    self._answered(id, call, data["usd"], data["tokens_in"], data["tokens_out"], data["seconds"])
                case "bred":
                    self._bred(key)
                case "settled":
                    stages = data.get("evidence", {}).get("seconds")
                    self._settled(key, data.get("seconds"), data.get("gpus", 0.0), stages)
                case "repeated":
                    self._repeated(key, data["seconds"], data.get("gpus", 0.0))

    def calls_out(self, beside: str) -> int:
        """Calls that are not answered yet, beside those of one child."""
        return sum(child.asking for id, child in self._children.items() if id != beside)

    def ask(self, id: str) -> None:
        """A call of this child is out."""
        if child := self._children.get(id):
            child.asking = True

    def give_up(self, id: str) -> None:
        """A child that was drawn is under way no longer, and has not settled either."""
        self.evaluating.discard(id)
        self._children.pop(id, None)

    def _once(self, kind: str, key: str) -> bool:
        """A resume passes by events again that it knows from the journal."""
        if (kind, key) in self._seen:
            return False
        self._seen.add((kind, key))
        return True

    def _drawn(self, id: str) -> None:
        if self._once("drawn", id):
            self.variants += 1
            self._children[id] = _Child()

    def _answered(self, id: str, call: str, usd: float | None, tokens_in: int, tokens_out: int, seconds: float) -> None:
        if not self._once("answered", f"{id}/{call}"):
            return
        self.llm_calls += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.call_seconds.add(seconds)
        self.call_tokens.add(tokens_in + tokens_out)
        if usd is None:
            self.unpriced_calls += 1
        else:
            self.usd += usd
            self.call_usd.add(usd)
        if child := self._children.get(id):
            child.asking = False
            child.usd += usd or 0.0
            child.tokens += tokens_in + tokens_out
            child.seconds += seconds
            child.priced_in_part |= usd is None

    def _bred(self, id: str) -> None:
        child = self._children.get(id)
        if child and not child.bred:
            self._has_code(child)

    def _has_code(self, child: _Child) -> None:
        child.bred, child.asking = True, False
        self.child_tokens.add(child.tokens)
        self.child_seconds.add(child.seconds)
        if not child.priced_in_part:
            self.child_usd.add(child.usd)

    def _repeated(self, training_seed: str, seconds: float, gpus: float) -> None:
        if self._once("repeated", training_seed):
            self._evaluated(seconds, gpus)

    def _evaluated(self, seconds: float, gpus: float) -> None:
        self.gpu_seconds += seconds * gpus
        self.gpu.add(seconds * gpus)
        self.evaluation_seconds += seconds
        self.evaluation.add(seconds)

    def _settled(self, id: str, seconds: float | None, gpus: float, stages: Mapping[str, float] | None) -> None:
        """`seconds`: of its evaluation; where that was not told, the `stages` of a trained one stand in."""
        if not self._once("settled", id):
            return
        if seconds is not None:
            self._evaluated(seconds, gpus)
        elif stages:
            seconds = sum(stages.values())
            self.evaluation_seconds += seconds
            self.evaluation.add(seconds)
        if id == SEED_ID:
            return
        self.settled += 1
        self.ends.append(self.seconds)
        child = self._children.pop(id, None)
        self.evaluating.discard(id)
        if child is None:  # it was given up before; what it cost is counted, what one costs was not learnt from it
            return
        if not child.bred:
            self._has_code(child)
        self.variant_tokens.add(child.tokens)
        self.variant_evaluation.add(seconds or 0.0)
        self.variant_gpu.add((seconds or 0.0) * gpus)
        if not child.priced_in_part:
            self.variant_usd.add(child.usd)
