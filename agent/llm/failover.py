"""Failover between models: a model that fails cools down for a while, and another one is asked in its place."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass

from agent.llm.base import Completion, LanguageModel, LanguageModelDown, LanguageModelRefused, Request, RequestRejected

_CHECK_SECONDS = 0.5
"""Longest time between two checks whether the run was cancelled, while a call waits for a model."""
_JITTER = 0.2
"""Cool-downs vary by this share, so that several runs do not all return at the same moment."""


@dataclass(frozen=True)
class FailoverPolicy:
    """When a model cools down and how long a run waits. A failure is a call that failed after all its own retries."""

    failures: int = 3
    """How many failures in a row start a cool-down."""
    first_cool_down_seconds: float = 30.0
    """Doubles each time that the trial call after a cool-down fails too."""
    longest_cool_down_seconds: float = 900.0
    patience_seconds: float = 43_200.0
    """How long calls wait while no model answers at all."""


@dataclass(frozen=True)
class CoolDownStarted:
    """A model is not asked for a while."""

    model: str
    seconds: float
    reason: str
    alone: bool
    """True if no other model can be asked at the moment: the run waits."""


@dataclass(frozen=True)
class CoolDownEnded:
    """A model answered again after one or more cool-downs."""

    model: str


Notify = Callable[[CoolDownStarted | CoolDownEnded], None]


class _State:
    """What is known about one model."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.cool_downs = 0
        """In a row, with no answer between them."""
        self.until = 0.0
        """End of the latest cool-down on the monotonic clock."""
        self.on_trial = False
        """The one trial call after a cool-down is under way; all other calls wait for its result."""
        self.has_answered = False
        """At least once since the start."""

    def can_be_asked(self, now: float) -> bool:
        return not self.cool_downs or (now >= self.until and not self.on_trial)


class Failover:
    """Sends each request to the model that was asked for, or to another one while that model cools down. Thread-safe.

    After a cool-down, one trial call is sent to the model; it returns to service when that call succeeds. While no model
    can be asked, calls wait until one can, `cancelled` returns True, or the policy's patience is over.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        policy: FailoverPolicy,
        notify: Notify = lambda notice: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._models, self._policy, self._notify, self._cancelled = dict(models), policy, notify, cancelled
        self._states = {name: _State() for name in models}
        self._changed = threading.Condition()
        self._silent_since: float | None = None
        """Time of the first failure since a model last answered, on the monotonic clock."""
        self._random = random.Random()
        self.members: Mapping[str, LanguageModel] = {name: _Member(model, self) for name, model in models.items()}
        """The models with failover built in, by name. `Completion.model` names the one that really answered."""

    def complete(self, name: str, request: Request) -> Completion:
        """Return the answer of the named model or of a replacement.

        Raises LanguageModelDown when patience is over, CancelledError when the run was cancelled, RequestRejected as the
        model does, and LanguageModelRefused if every model refuses and none has ever answered, or if it is the only one.
        """
        failed: set[str] = set()
        refusing: set[str] = set()
        last: LanguageModelDown | None = None
        while True:
            chosen = self._choose(name, failed, last)
            try:
                completion = self._models[chosen].complete(request)
            except LanguageModelDown as down:
                failed.add(chosen)
                last = down
                self._record_failure(chosen, str(down), down.retry_after)
            except LanguageModelRefused as refused:
                refusing.add(chosen)
                never = not any(state.has_answered for state in self._states.values())
                if len(self._models) == 1 or (never and len(refusing) == len(self._models)):
                    self._end_trial(chosen)
                    raise
                # Its key or name is wrong, or its credit used up: the others do its part.
                failed.add(chosen)
                last = LanguageModelDown(str(refused))
                self._record_failure(chosen, str(refused), self._policy.longest_cool_down_seconds)
            except RequestRejected:  # the model is there
                self._record_answer(chosen, rejected=True)
                raise
            except BaseException:  # the model was closed: let another call be the trial
                self._end_trial(chosen)
                raise
            else:
                self._record_answer(chosen)
                return completion

    def has_answered(self, name: str) -> None:
        """Note that this model has answered, in a call that did not go through here."""
        self._record_answer(name)

    def rest(self, name: str, reason: str) -> None:
        """Let this model cool down, since a call that did not go through here has failed."""
        self._record_failure(name, reason, self._policy.first_cool_down_seconds)

    def _choose(self, name: str, failed: Collection[str], last: LanguageModelDown | None) -> str:
        """Return the model to ask next, waiting until one can be asked.

        The named model comes first and the others follow, but models that failed in this call (`failed`) come last.
        Raises `last`, the latest failure, when patience is over.
        """
        order = sorted([name, *(other for other in self._models if other != name)], key=lambda model: model in failed)
        with self._changed:
            while True:
                now = time.monotonic()
                if self._cancelled():
                    raise CancelledError
                ready = [model for model in order if self._states[model].can_be_asked(now)]
                untried = any(model not in failed for model in ready)
                if last and not untried and self._patience_is_over(now):
                    raise last
                if ready:
                    state = self._states[ready[0]]
                    state.on_trial = state.cool_downs > 0
                    return ready[0]
                next_end = min(self._states[model].until for model in order)
                self._changed.wait(min(max(next_end - now, 0.01), _CHECK_SECONDS))

    def _patience_is_over(self, now: float) -> bool:
        return self._silent_since is not None and now >= self._silent_since + self._policy.patience_seconds

    def _record_failure(self, name: str, reason: str, requested: float | None) -> None:
        """Start a cool-down if it is time for one. `requested`: pause in seconds that the provider asked for."""
        now, policy = time.monotonic(), self._policy
        with self._changed:
            state = self._states[name]
            state.failures += 1
            if self._silent_since is None:
                self._silent_since = now
            was_trial, state.on_trial = state.on_trial, False
            cooling_down = now < state.until
            too_few = state.failures < policy.failures and requested is None
            if not was_trial and (cooling_down or too_few):
                return
            growing = min(policy.first_cool_down_seconds * 2**state.cool_downs, policy.longest_cool_down_seconds)
            seconds = max(growing * self._random.uniform(1 - _JITTER, 1 + _JITTER), requested or 0.0)
            state.cool_downs, state.until = state.cool_downs + 1, now + seconds
            alone = not any(other.can_be_asked(now) for other in self._states.values())
            self._changed.notify_all()
        self._notify(CoolDownStarted(name, seconds, reason, alone))

    def _record_answer(self, name: str, *, rejected: bool = False) -> None:
        with self._changed:
            state = self._states[name]
            had_cooled_down = state.cool_downs > 0
            state.failures, state.cool_downs, state.until = 0, 0, 0.0
            state.on_trial, state.has_answered = False, state.has_answered or not rejected
            self._silent_since = None
            self._changed.notify_all()
        if had_cooled_down:
            self._notify(CoolDownEnded(name))

    def _end_trial(self, name: str) -> None:
        """Note that a trial call ended without showing whether the model works."""
        with self._changed:
            self._states[name].on_trial = False
            self._changed.notify_all()


class _Member:
    """A `LanguageModel` that sends its requests through the failover, under the name of one model."""

    def __init__(self, model: LanguageModel, failover: Failover) -> None:
        self.name, self.waits_for_person, self._failover = model.name, model.waits_for_person, failover

    def complete(self, request: Request) -> Completion:
        return self._failover.complete(self.name, request)

    def close(self) -> None:
        """Does nothing: whoever opened the models closes them."""
