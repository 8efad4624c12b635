"""Decides which call may use which device and which call waits: the rules of `lanes`, without any sandbox."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sandbox.sandbox import SandboxUnavailable


class Slots:
    """Hands out slots (the right to train on a device), room next to the trainings, and the exclusive use of a device.

    Waiting times are in seconds. After `close`, every waiting method raises SandboxUnavailable.
    """

    def __init__(self, devices: Sequence[str], beside: int) -> None:
        """`devices`: the device of each slot, `cpu` or `cuda:N`; `beside`: how many calls that do not train may run at once."""
        self.devices = tuple(devices)
        """The device of each slot."""
        self._size = Counter(devices)
        self._taken: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        """Number of calls on each device, trainings and others."""
        self._beside = beside
        self._reserved: Counter[str] = Counter()
        """Number of calls on each device that have or want it exclusively; no other call is admitted meanwhile."""
        self._exclusive: set[str] = set()
        self._trainings: deque[object] = deque()
        self._others: deque[object] = deque()
        self._changed = threading.Condition()
        self._timed = threading.Lock()
        self._closed = False

    @property
    def only(self) -> str | None:
        """The device, if there is only one."""
        return self.devices[0] if len(self._size) == 1 else None

    def gpus(self, device: str) -> float:
        """Return how many GPUs a training on this device occupies: a fraction if the GPU has several slots, 0 on the CPU."""
        return 1 / self._size[device] if device != "cpu" and self._size[device] else 0.0

    def take(self) -> tuple[str, float]:
        """Wait for a free slot; return (device, seconds waited). Waiting calls are served in order of arrival."""
        with self._changed:
            waited = self._wait(self._free, self._trainings)
            device = self._free()[0]
            self._taken[device] += 1
            self._users[device] += 1
            self._changed.notify_all()
            return device, waited

    def give_back(self, device: str) -> None:
        """Return a slot that was taken."""
        with self._changed:
            self._taken[device] -= 1
            self._users[device] -= 1
            self._changed.notify_all()

    @contextmanager
    def beside(self, device: str) -> Iterator[float]:
        """Wait for room for a call that does not train; yield the seconds waited."""
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
        """Wait for exclusive use of the device; yield the seconds waited."""
        with self._changed:
            self._reserved[device] += 1
        try:
            with self._changed:
                waited = self._wait(lambda: not self._users[device] and device not in self._exclusive)
                self._exclusive.add(device)
            try:
                yield waited
            finally:
                self._exclusive.discard(device)
        finally:
            with self._changed:
                self._reserved[device] -= 1
                self._changed.notify_all()

    @contextmanager
    def machine(self) -> Iterator[float]:
        """Wait until no other call runs on any device, and keep all others waiting; yield the seconds waited."""
        waited = 0.0
        with self._timed, ExitStack() as stack:  # two that wait for each other's devices would wait for ever
            for device in sorted({*self._size, "cpu"}):  # stages before a training run on the CPU
                waited += stack.enter_context(self.alone(device))
            yield waited

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _free(self) -> list[str]:
        """Return the devices with a free slot, the one with the largest free share first."""
        free = [d for d in self._size if self._taken[d] < self._size[d] and not self._reserved[d]]
        return sorted(free, key=lambda device: self._taken[device] / self._size[device])

    def _wait(self, ready: Callable[[], object], line: deque[object] | None = None) -> float:
        """Wait until `ready` returns something true and this call is first in the line; return the seconds waited."""
        started, ticket = time.monotonic(), object()
        line = deque() if line is None else line
        line.append(ticket)
        try:
            self._changed.wait_for(lambda: self._closed or (line[0] is ticket and ready()))
        finally:
            line.remove(ticket)
        if self._closed:
            raise SandboxUnavailable("the sandbox was closed")
        return time.monotonic() - started
