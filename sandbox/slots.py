"""Who may use which device, and who waits for it: the rules of `lanes` without any sandbox."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sandbox.sandbox import SandboxUnavailable


class Slots:
    """The right to train, some of it on each device; the room beside it; and the right to have a device alone.

    Whoever waits is sent away with SandboxUnavailable when it is closed. Waiting is told in seconds.
    """

    def __init__(self, devices: Sequence[str], beside: int) -> None:
        """`devices`: that of each slot, `cpu` or `cuda:N`; `beside`: how many calls that do not train may run at once."""
        self.devices = tuple(devices)
        """That of each slot."""
        self._size = Counter(devices)
        self._taken: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        """Calls on each device, those that train and those beside."""
        self._beside = beside
        self._reserved: Counter[str] = Counter()
        """How many have or want a device alone: nobody else is let in meanwhile."""
        self._alone: set[str] = set()
        self._trainings: deque[object] = deque()
        self._others: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def only(self) -> str | None:
        """The device, if there is but one."""
        return self.devices[0] if len(self._size) == 1 else None

    def gpus(self, device: str) -> float:
        """How many GPUs a training on this device holds: a share of one that has several slots."""
        return 1 / self._size[device] if device != "cpu" and self._size[device] else 0.0

    def take(self) -> tuple[str, float]:
        """(device, seconds waited) of a free slot; who came first gets the first one."""
        with self._changed:
            waited = self._wait(self._free, self._trainings)
            device = self._free()[0]
            self._taken[device] += 1
            self._users[device] += 1
            self._changed.notify_all()
            return device, waited

    def give_back(self, device: str) -> None:
        with self._changed:
            self._taken[device] -= 1
            self._users[device] -= 1
            self._changed.notify_all()

    @contextmanager
    def beside(self, device: str) -> Iterator[float]:
        """For a call that does not train: seconds waited."""
        with self._changed:
            waited = self._wait(lambda: not self._reserved[device])
            self._users[device] += 1
            try:
                waited += self._wait(lambda: self._beside > 0, self._others)
            except SandboxUnavailable:
                self._users[device] -= 1
                raise
            self._beside -= 1
        try:
            yield waited
        finally:
            with self._changed:
                self._beside += 1
                self._users[device] -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, device: str) -> Iterator[float]:
        """While nobody else uses the device: seconds waited."""
        with self._changed:
            self._reserved[device] += 1
        try:
            with self._changed:
                waited = self._wait(lambda: not self._users[device] and device not in self._alone)
                self._alone.add(device)
            try:
                yield waited
            finally:
                self._alone.discard(device)
        finally:
            with self._changed:
                self._reserved[device] -= 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _free(self) -> list[str]:
        """Devices with a free slot, the one with the largest free share first."""
        free = [d for d in self._size if self._taken[d] < self._size[d] and not self._reserved[d]]
        return sorted(free, key=lambda device: self._taken[device] / self._size[device])

    def _wait(self, ready: Callable[[], object], line: deque[object] | None = None) -> float:
        """Seconds until it is `ready`, and its turn in the line."""
        began, ticket = time.monotonic(), object()
        line = deque() if line is None else line
        line.append(ticket)
        try:
            self._changed.wait_for(lambda: self._closed or (line[0] is ticket and ready()))
        finally:
            line.remove(ticket)
        if self._closed:
            raise SandboxUnavailable("the sandbox was closed")
        return time.monotonic() - began
