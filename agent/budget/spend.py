"""What a run has spent and has under way, read from its events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.core.running_mean import RunningMean
from agent.journal.codec import Row
from agent.journal.events import Answered, Bred, Event, Proposed, Retrained, SeedRepeated, Settled
from agent.journal.tracker import TrackedCandidate, Tracker
from agent.population.candidate import SEED_ID, Individual

_SOON = 1 / 50
"""Weight of the newest value in a mean that says what the next step will cost: about the last 50 count."""
_MANY = 256
"""About how many of the last candidates count in a forecast of how far a run will get."""
_FAR = 1 / _MANY


@dataclass(frozen=True)
class Guess:
    """What one candidate is believed to cost until the first ones have shown it."""

    usd: float = 0.0
    tokens: float = 0.0
    breeding_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    gpu_seconds: float = 0.0


NO_GUESS = Guess()


class Spend:
    """Totals, and running means of what one call, one candidate, one evaluation costs. Each event counts once."""

    def __init__(self, guess: Guess = NO_GUESS, tracker: Tracker | None = None) -> None:
        """`tracker`: the run's; every event and row that comes here is passed on to it first. None: makes its own."""
        self._tracker = tracker or Tracker()
        self.started: float | None = None
        """Seconds since the epoch of the start from which `limits.until` counts: the first, or a later one that says so."""
        self.seconds = 0.0
        """Wall time of all processes of the run up to the last event."""
        self.usd = 0.0
        self.tokens = 0
        """Of prompts and answers."""
        self.unpriced_calls = 0
        """Answered calls whose price is unknown: `usd` leaves them out."""
        self.evaluation_seconds = self.gpu_seconds = 0.0
        self.variants = self.settled = 0
        """Candidates proposed; candidates settled, whatever became of them. The seed is neither."""
        self.call_usd, self.call_tokens = RunningMean(_SOON, guess.usd), RunningMean(_SOON, guess.tokens)
        self.call_seconds = RunningMean(_SOON, guess.breeding_seconds)
        # of one candidate, from its proposal to its program:
        self.candidate_usd, self.candidate_tokens = RunningMean(_SOON, guess.usd), RunningMean(_SOON, guess.tokens)
        self.candidate_seconds = RunningMean(_SOON, guess.breeding_seconds)
        # of one evaluation:
        self.evaluation, self.gpu = RunningMean(_SOON, guess.evaluation_seconds), RunningMean(_SOON, guess.gpu_seconds)
        # of one settled candidate; those that were never evaluated count as 0 seconds:
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
        """What the candidates under way are expected to cost still; a call that is out costs at least a call."""
        each, call = self.usd_per_candidate, self.call_usd.value
        return sum(max(each - one.usd, call if one.asking else 0.0) for one in self._unbred())

    @property
    def tokens_in_flight(self) -> float:
        """Tokens that the candidates under way are expected to take still."""
        return sum(max(self.candidate_tokens.value - one.tokens, 0.0) for one in self._unbred())

    @property
    def usd_per_variant(self) -> float | None:
        """Dollars of one settled candidate; None while unknown."""
        # Candidates without any call cost nothing, and say nothing of calls whose price nobody knows.
        return None if self.unpriced_calls and not self.usd else _first_known(self.variant_usd, self.candidate_usd)

    @property
    def tokens_per_variant(self) -> float | None:
        """Tokens of one settled candidate; None while unknown."""
        return _first_known(self.variant_tokens, self.candidate_tokens)

    @property
    def gpu_seconds_per_variant(self) -> float | None:
        """GPUs times seconds of one settled candidate; None while unknown."""
        return _first_known(self.variant_gpu, self.gpu)

    def calls_out(self, beside: str) -> int:
        """Model calls that are not answered yet, without those of one candidate."""
        return sum(one.asking for one in self._tracker.open() if one.id != beside)

    def evaluations(self, beside: str = "") -> int:
        """Evaluations that were admitted and have not ended, without that of one candidate."""
        return self._tracker.evaluations(beside)

    def mark_asking(self, id: str) -> None:
        """A model call of this candidate is out."""
        self._tracker.mark_asking(id)

    def mark_evaluating(self, id: str) -> None:
        """The evaluation of this candidate, or a training of the seed for the noise, was admitted."""
        self._tracker.mark_evaluating(id)

    def give_up(self, id: str) -> None:
        """This candidate is no longer under way, and has not settled either."""
        self._tracker.give_up(id)

    def see(self, event: Event) -> None:
        """An event of this process. `started` and `seconds` are for the caller to set, who has the clock."""
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
            case Retrained(number, training_seed=training_seed, seconds=seconds, gpus=gpus):
                self._count_repeat(f"{number}/{training_seed}", seconds, gpus)
            case _:
                pass

    def recall(self, rows: Iterable[Row]) -> None:
        """The rows of `Journal.cost_rows`, before the first event: what earlier processes did, and for how long.

        Their time is read from the rows, written by the wall clock: steps backward count as nothing, but a machine that
        slept cannot be told from one that worked.
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
                case "repeated" | "retrained":
                    self._count_repeat(key, data["seconds"], data.get("gpus", 0.0))

    def _unbred(self) -> list[TrackedCandidate]:
        return [one for one in self._tracker.open() if not one.bred]

    def _first_time(self, kind: str, key: str) -> bool:
        """False for an event that was counted: a resume passes by those that it knows from the journal."""
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
        self.call_seconds.add(seconds)
        self.call_tokens.add(tokens)
        if usd is None:
            self.unpriced_calls += 1
        else:
            self.usd += usd
            self.call_usd.add(usd)

    def _count_breeding(self, id: str) -> None:
        """A candidate has its program, or ends without one. Nothing is learned from one that was given up before."""
        costs = self._tracker.get(id).breeding_costs
        if costs is None or not self._first_time("bred", id):
            return
        self.candidate_tokens.add(costs.tokens)
        self.candidate_seconds.add(costs.seconds)
        if not costs.unpriced:
            self.candidate_usd.add(costs.usd)

    def _count_repeat(self, key: str, seconds: float, gpus: float) -> None:
        """Of a training for the noise or for a confirmation; `key`: of its row in the journal."""
        if self._first_time("repeated", key):
            self._count_evaluation(seconds, gpus)

    def _count_evaluation(self, seconds: float, gpus: float) -> None:
        self.gpu_seconds += seconds * gpus
        self.gpu.add(seconds * gpus)
        self.evaluation_seconds += seconds
        self.evaluation.add(seconds)

    def _count_settled(self, id: str, seconds: float | None, gpus: float, stages: Mapping[str, float] | None) -> None:
        """`seconds`: of its evaluation; where they were not recorded, the `stages` of a trained one stand in."""
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
        if not one.bred:  # it was given up before: what it has cost is counted, but no candidate costs as little
            return
        self._count_breeding(id)
        self.variant_tokens.add(one.tokens)
        self.variant_evaluation.add(seconds or 0.0)
        self.variant_gpu.add((seconds or 0.0) * gpus)
        if not one.unpriced:
            self.variant_usd.add(one.usd)


def _first_known(*means: RunningMean) -> float | None:
    """The value of the first mean that any value was added to: of settled candidates, or of those with a program only."""
    return next((mean.value for mean in means if mean.known), None)
