"""Several models as one that does not give up: who fails is left alone for a while, and another one is asked instead."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass

from agent.llm.protocol import Completion, LanguageModel, LanguageModelDown, LanguageModelRefused, Request, RequestRejected

_TICK = 0.5
"""Seconds between two looks at whether the run still wants to wait."""
_JITTER = 0.2


@dataclass(frozen=True)
class FailoverPolicy:
    """With models that do not answer, each call's own retries being over."""

    failures: int = 3
    """In a row, then a model rests."""
    first_rest_seconds: float = 30.0
    """Doubles each time that the one call after a rest fails too."""
    longest_rest_seconds: float = 900.0
    seconds: float = 43_200.0
    """How long no model at all may answer."""


@dataclass(frozen=True)
class CoolDownStarted:
    model: str
    seconds: float
    reason: str
    alone: bool
    """No other model is left to be asked: the run waits."""


@dataclass(frozen=True)
class CoolDownEnded:
    """It answered again."""

    model: str


Notify = Callable[[CoolDownStarted | CoolDownEnded], None]


class _State:
    """Of one model."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.rests = 0
        """In a row."""
        self.until = 0.0
        """On the monotonic clock."""
        self.on_trial = False
        """After a rest one call goes ahead, and the others wait for how it fares."""
        self.answered = False
        """At any time."""

    def may_be_asked(self, now: float) -> bool:
        return not self.rests or (now >= self.until and not self.on_trial)


class Failover:
    """Stands between those who ask and the models. Safe from several threads.

    A model that rests is asked again by one call when its rest is over. While no model may be asked, calls wait; they
    end by CancelledError when `given_up` says so, and by LanguageModelDown when patience is at its end.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        waiting: FailoverPolicy,
        notify: Notify = lambda notice: None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._models, self._waiting, self._notify, self._given_up = dict(models), waiting, notify, given_up
        self._states = {name: _State() for name in models}
        self._changed = threading.Condition()
        self._silent_since: float | None = None
        """Since when no model has answered, though it was asked."""
        self._chance = random.Random()
        self.members: Mapping[str, LanguageModel] = {name: _Member(model, self) for name, model in models.items()}
        """To be asked instead of the models: others may answer in their name, as `Completion.model` tells."""

    def complete(self, name: str, request: Request) -> Completion:
        """Raises what a model does, but LanguageModelDown only at the end of all patience."""
        failed: set[str] = set()
        last: LanguageModelDown | None = None
        while True:
            chosen = self._choose(name, failed, last)
            try:
                completion = self._models[chosen].complete(request)
            except LanguageModelDown as down:
                failed.add(chosen)
                last = down
                self._has_failed(chosen, str(down), down.retry_after)
            except LanguageModelRefused as refused:
                if not self._states[chosen].answered or len(self._models) == 1:
                    self._has_answered(chosen, with_success=False)
                    raise
                failed.add(chosen)  # it has worked before, so it is no mistake of the user's: its credit may be used up
                last = LanguageModelDown(str(refused))
                self._has_failed(chosen, str(refused), self._waiting.longest_rest_seconds)
            except RequestRejected:
                self._has_answered(chosen)
                raise
            except BaseException:  # it was closed: another call may be the trial
                self._has_answered(chosen, with_success=False)
                raise
            else:
                self._has_answered(chosen)
                return completion

    def _choose(self, name: str, failed: Collection[str], last: LanguageModelDown | None) -> str:
        """The model itself, else another one, those that this call has not tried first. Waits until there is one."""
        order = sorted([name, *(other for other in self._models if other != name)], key=lambda one: one in failed)
        with self._changed:
            while True:
                now = time.monotonic()
                if self._given_up():
                    raise CancelledError
                ready = [one for one in order if self._states[one].may_be_asked(now)]
                fresh = [one for one in ready if one not in failed]
                if last and not fresh and self._silent_since and now >= self._silent_since + self._waiting.seconds:
                    raise last
                if chosen := next(iter(ready), None):
                    state = self._states[chosen]
                    state.on_trial = state.rests > 0
                    return chosen
                nearest = min(self._states[one].until for one in order)
                self._changed.wait(min(max(nearest - now, 0.01), _TICK))

    def _has_failed(self, name: str, reason: str, named: float | None) -> None:
        """`named`: seconds for which the model asked to be left alone."""
        now, waiting = time.monotonic(), self._waiting
        with self._changed:
            state = self._states[name]
            state.failures += 1
            self._silent_since = self._silent_since or now
            resting, tried, state.on_trial = now < state.until, state.on_trial, False
            if not tried and (resting or (state.failures < waiting.failures and named is None)):
                return
            growing = min(waiting.first_rest_seconds * 2**state.rests, waiting.longest_rest_seconds)
            seconds = max(growing * self._chance.uniform(1 - _JITTER, 1 + _JITTER), named or 0.0)
            state.rests, state.until = state.rests + 1, now + seconds
            alone = not any(one.may_be_asked(now) for one in self._states.values())
            self._changed.notify_all()
        self._notify(CoolDownStarted(name, seconds, reason, alone))

    def _has_answered(self, name: str, *, with_success: bool = True) -> None:
        with self._changed:
            state = self._states[name]
            state.on_trial = False
            rested = state.rests > 0
            if with_success:
                state.failures, state.rests, state.until, state.answered = 0, 0, 0.0, True
                self._silent_since = None
            self._changed.notify_all()
        if with_success and rested:
            self._notify(CoolDownEnded(name))


class _Member:
    """A `LanguageModel` that is the ensemble under one of its names."""

    def __init__(self, model: LanguageModel, ensemble: Failover) -> None:
        self.name, self.patient, self._ensemble = model.name, model.patient, ensemble

    def complete(self, request: Request) -> Completion:
        return self._ensemble.complete(self.name, request)

    def close(self) -> None:
        """The models belong to who opened them."""
