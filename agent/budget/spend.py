"""Count what a run has spent and what is under way, from its events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.core.running_mean import RunningMean
from agent.journal.codec import Row
from agent.journal.events import (
    CHECK_ID,
    Answered,
    Bred,
    EliteRetrained,
    Event,
    Proposed,
    Retrained,
    SeedFailed,
    SeedRepeated,
    Settled,
)
from agent.journal.tracker import TrackedCandidate, Tracker
from agent.population.candidate import SEED_ID, Individual

_SOON = 1 / 50
"""Weight of the newest value in a mean that says what the next step will cost: about the last 50 count."""
_MANY = 256
"""About how many of the last candidates count in a forecast."""
_FAR = 1 / _MANY


@dataclass(frozen=True)
class Guess:
    """What one candidate is assumed to cost until the first costs are known."""

    usd: float = 0.0
    tokens: float = 0.0
    breeding_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    gpu_seconds: float = 0.0


NO_GUESS = Guess()


class Spend:
    """Totals, and running means of what one call, one candidate, one evaluation costs. Each event counts once."""

    def __init__(self, guess: Guess = NO_GUESS, tracker: Tracker | None = None) -> None:
        """`tracker`: the run's tracker; every event and row is passed on to it first. None: makes its own."""
        self._tracker = tracker or Tracker()
        self.started: float | None = None
        """The start from which `limits.until` counts, in seconds since the epoch: the first, or a later one with a new time."""
        self.seconds = 0.0
        """Wall time of all processes of the run up to the last event."""
        self.usd = 0.0
        self.tokens = 0
        """Tokens of prompts and answers."""
        self.unpriced_calls = 0
        """Answered calls whose price is unknown: `usd` leaves them out."""
        self.evaluation_seconds = self.gpu_seconds = 0.0
        self.variants = self.settled = 0
        """Candidates proposed; candidates settled, however they ended. The seed does not count."""
        self.call_usd, self.call_tokens = RunningMean(_SOON, guess.usd), RunningMean(_SOON, guess.tokens)
        self.call_seconds = RunningMean(_SOON, guess.breeding_seconds)
        # Means per candidate, from its proposal to its program:
        self.candidate_usd, self.candidate_tokens = RunningMean(_SOON, guess.usd), RunningMean(_SOON, guess.tokens)
        self.candidate_seconds = RunningMean(_SOON, guess.breeding_seconds)
        # Means per evaluation:
        self.evaluation, self.gpu = RunningMean(_SOON, guess.evaluation_seconds), RunningMean(_SOON, guess.gpu_seconds)
        # Means per settled candidate; one that was never evaluated counts as 0 seconds:
        self.variant_usd, self.variant_tokens = RunningMean(_FAR), RunningMean(_FAR)
        self.variant_evaluation, self.variant_gpu = RunningMean(_FAR), RunningMean(_FAR)
        self.settled_at: deque[float] = deque([0.0], _MANY + 1)
        """The value of `seconds` when each of the last candidates settled."""
        self._counted: set[tuple[str, str]] = set()

    @property
    def breeding(self) -> int:
        """Candidates under way that have no program yet."""
        return len(self._unbred())

    @property
    def in_flight(self) -> int:
        """Candidates under way."""
        return len(self._tracker.open())

    @property
    def usd_per_candidate(self) -> float:
        """What the calls of the next candidate are expected to cost."""
        mean = self.candidate_usd
        return mean.value if mean.known else max(mean.value, self.call_usd.value)

    @property
    def usd_in_flight(self) -> float:
        """What the candidates under way are still expected to cost; a call under way costs at least the mean of a call."""
        each, call = self.usd_per_candidate, self.call_usd.value
        return sum(max(each - one.usd, call if one.asking else 0.0) for one in self._unbred())

    @property
    def tokens_in_flight(self) -> float:
        """Tokens that the candidates under way are still expected to use."""
        return sum(max(self.candidate_tokens.value - one.tokens, 0.0) for one in self._unbred())

    @property
    def usd_per_variant(self) -> float | None:
        """Dollars of one settled candidate; None while unknown."""
        # Candidates without any call cost nothing, which tells nothing about calls of unknown price.
        return None if self.unpriced_calls and not self.usd else _first_known(self.variant_usd, self.candidate_usd)

    @property
    def tokens_per_variant(self) -> float | None:
        """Tokens of one settled candidate; None while unknown."""
        return _first_known(self.variant_tokens, self.candidate_tokens)

    @property
    def gpu_seconds_per_variant(self) -> float | None:
        """GPUs times seconds of one settled candidate; None while unknown."""
        return _first_known(self.variant_gpu, self.gpu)

    def calls_out(self, without: str) -> int:
        """How many model calls are not answered yet, except those of one candidate."""
        return sum(one.asking for one in self._tracker.open() if one.id != without)

    def evaluations(self, without: str = "") -> int:
        """How many evaluations were admitted and have not ended, except that of one candidate."""
        return self._tracker.evaluations(without)

    def mark_asking(self, id: str) -> None:
        """Note that a model call for this candidate has started."""
        self._tracker.mark_asking(id)

    def mark_evaluating(self, id: str) -> None:
        """Note that the evaluation of this candidate, or a noise training of the seed, was admitted."""
        self._tracker.mark_evaluating(id)

    def give_up(self, id: str) -> None:
        """Note that this candidate is no longer under way, but has not settled."""
        self._tracker.give_up(id)

    def see(self, event: Event) -> None:
        """Count an event of this process. The caller, which has the clock, sets `started` and `seconds`."""
        self._tracker.see(event)
        match event:
            case Proposed(candidate):
                self._count_proposal(candidate.id)
            case Answered(id, call, completion):
                tokens = completion.usage.tokens_in + completion.usage.tokens_out
                self._count_answer(f"{id}/{call}", completion.usd, tokens, completion.seconds)
            case Bred(variant):
                self._count_breeding(variant.id)
            case Settled(outcome, seconds, gpus):
                stages = outcome.evidence.seconds if isinstance(outcome, Individual) else None
                self._count_settled(outcome.id, seconds, gpus, stages)
            case SeedRepeated(training_seed, _, _, seconds, gpus):
                self._count_repeat(str(training_seed), seconds, gpus)
            case SeedFailed(seconds=seconds, gpus=gpus):
                self._count_evaluation(seconds, gpus)
            case EliteRetrained(id, training_seed, _, _, seconds, gpus):
                self._count_repeat(EliteRetrained.id_of(id, training_seed), seconds, gpus)
            case Retrained(number, training_seed=training_seed, seconds=seconds, gpus=gpus):
                self._count_repeat(f"{number}/{training_seed}", seconds, gpus)
            case _:
                pass

    def recall(self, rows: Iterable[Row]) -> None:
        """Count what earlier processes did, from the rows of `Journal.cost_rows`, before the first event of this process.

        Their time is computed from the rows' wall-clock times: a step backward counts as 0, but the time while the machine
        slept counts as work.
        """
        running, previous = False, 0.0
        for row in rows:
            self._tracker.recall([row], candidates=False)
            moment, kind, key, data = row
            if running and kind != "started":
                self.seconds += max(0.0, moment - previous)
            previous = moment
            match kind:
                case "started":
                    running = True
                    self.started = moment if self.started is None or data.get("until_anew") else self.started
                case "ended":
                    running = False
                case "drawn":
                    self._count_proposal(key)
                case "answered":
                    self._count_answer(key, data["usd"], data["tokens_in"] + data["tokens_out"], data["seconds"])
                case "bred":
                    self._count_breeding(key)
                case "settled":
                    stages = data.get("evidence", {}).get("seconds")
                    self._count_settled(key, data.get("seconds"), data.get("gpus", 0.0), stages)
                case "repeated" | "retrained" | "reading":
                    self._count_repeat(key, data["seconds"], data.get("gpus", 0.0))
                case "seed_failed":
                    self._count_evaluation(data["seconds"], data["gpus"])

    def _unbred(self) -> list[TrackedCandidate]:
        return [one for one in self._tracker.open() if not one.bred]

    def _first_time(self, kind: str, key: str) -> bool:
        """Whether the event was not counted before: a resumed run sees the events of earlier processes again."""
        if (kind, key) in self._counted:
            return False
        self._counted.add((kind, key))
        return True

    def _count_proposal(self, id: str) -> None:
        if self._first_time("proposed", id):
            self.variants += 1

    def _count_answer(self, call: str, usd: float | None, tokens: int, seconds: float) -> None:
        if not self._first_time("answered", call):
            return
        self.tokens += tokens
        self.usd += usd or 0.0
        self.unpriced_calls += usd is None
        if call.startswith(f"{CHECK_ID}/"):
            return  # a short question tells nothing about the others
        self.call_seconds.add(seconds)
        self.call_tokens.add(tokens)
        if usd is not None:
            self.call_usd.add(usd)

    def _count_breeding(self, id: str) -> None:
        """Count a candidate that got its program or ended without one. One that was given up before does not count."""
        costs = self._tracker.get(id).breeding_costs
        if costs is None or not self._first_time("bred", id):
            return
        self.candidate_tokens.add(costs.tokens)
        self.candidate_seconds.add(costs.seconds)
        if not costs.unpriced:
            self.candidate_usd.add(costs.usd)

    def _count_repeat(self, key: str, seconds: float, gpus: float) -> None:
        """Of one more training of a program; `key`: of its row in the journal."""
        if self._first_time("repeated", key):
            self._count_evaluation(seconds, gpus)

    def _count_evaluation(self, seconds: float, gpus: float) -> None:
        self.gpu_seconds += seconds * gpus
        self.gpu.add(seconds * gpus)
        self.evaluation_seconds += seconds
        self.evaluation.add(seconds)

    def _count_settled(self, id: str, seconds: float | None, gpus: float, stages: Mapping[str, float] | None) -> None:
        """`seconds`: those of its evaluation; if they were not recorded, the sum of its `stages` is used."""
        if not self._first_time("settled", id):
            return
        if seconds is not None:
            self._count_evaluation(seconds, gpus)
        elif stages:
            seconds = sum(stages.values())
            self.evaluation_seconds += seconds
            self.evaluation.add(seconds)
        if id == SEED_ID:
            return
        self.settled += 1
        self.settled_at.append(self.seconds)
        one = self._tracker.get(id)
        if not one.bred:  # it was given up: its cost counts in the totals, but it is too low for the means
            return
        self._count_breeding(id)
        self.variant_tokens.add(one.tokens)
        self.variant_evaluation.add(seconds or 0.0)
        self.variant_gpu.add((seconds or 0.0) * gpus)
        if not one.unpriced:
            self.variant_usd.add(one.usd)


def _first_known(*means: RunningMean) -> float | None:
    """The value of the first mean that has any values; None if none has."""
    return next((mean.value for mean in means if mean.known), None)
