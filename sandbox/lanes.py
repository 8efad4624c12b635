"""Several sandboxes that look like one: what trains holds a slot of a device for itself, all else runs beside it.

A lane is a sandbox that works for one device. A call takes a lane that is idle, or opens another: how many there are follows
from how many calls are under way. A slot is only the right to train. Where there is but one device, a call that trains gets
ready in its lane first and waits there for its turn; the turn passes on as soon as the process before has ended, while what
is left of it is cleared away. So a slot stands still for some milliseconds between two trainings.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from sandbox.sandbox import Call, Level, Report, SandboxUnavailable, Turn, Watch
from sandbox.slots import Slots


class Lane(Protocol):
    """A sandbox that can get a call ready and wait for its turn; a `WarmSandbox`."""

    def run(self, call: Call, watch: Watch | None = None, turn: Turn | None = None) -> Report: ...

    def close(self) -> None: ...


class Lanes:
    """A `Sandbox` over several; any number of threads may call it at once."""

    def __init__(self, level: Level, open_lane: Callable[[], Lane], devices: Sequence[str], *, beside: int = 2) -> None:
        """`devices`: that of each slot, `cpu` or `cuda:N`; `beside`: how many calls that do not train may run at once."""
        self.level = level
        self.slots = Slots(devices, beside)
        self._open = open_lane
        self._idle: defaultdict[str, list[Lane]] = defaultdict(list)
        self._all: list[Lane] = []
        self._closed = False
        self._lock = threading.Lock()

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """A call by itself. Those of one evaluation go through one `seat`."""
        return self.seat().run(call, watch)

    def seat(self, admit: Callable[[], None] = lambda: None) -> Seat:
        """A sandbox for one evaluation. `admit` is asked when its training has a slot; what it raises comes through."""
        return Seat(self, admit)

    def close(self) -> None:
        """Ends the calls that run and sends away those that wait: their `run` raises SandboxUnavailable."""
        with self._lock:
            self._closed = True
            lanes, self._all = self._all, []
        self.slots.close()
        if lanes:
            with ThreadPoolExecutor(len(lanes)) as threads:
                list(threads.map(lambda lane: lane.close(), lanes))

    @contextmanager
    def lane(self, device: str) -> Iterator[Lane]:
        """One for this device that nobody else uses. If it turns out to be broken it is given up."""
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            if not self._idle[device]:
                self._idle[device].append(self._open())
                self._all.append(self._idle[device][0])
            lane = self._idle[device].pop()  # the one that was used last: the others' memory may have been swapped out
        try:
            yield lane
        except SandboxUnavailable:
            lane.close()
            with self._lock:
                self._all = [other for other in self._all if other is not lane]
            raise
        except BaseException:
            self._idle[device].append(lane)
            raise
        self._idle[device].append(lane)


class Seat:
    """A `Sandbox` for the calls of one evaluation, one after another. It remembers on which device it was trained."""

    def __init__(self, lanes: Lanes, admit: Callable[[], None]) -> None:
        self.level = lanes.level
        self.device = "cpu"
        """That of its training, once it has begun: all that comes after happens there too."""
        self.waited = 0.0
        """Seconds that it was ready to go on and had to wait for others."""
        self._lanes, self._admit = lanes, admit

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Raises SandboxUnavailable if the call could not be run at all, in two different lanes."""
        try:
            report = self._run(call, watch)
        except SandboxUnavailable:  # a process of ours has died: the call is repeated, not the evaluation
            report = self._run(call, watch)
        if report.cause == "device":  # perhaps others left too little of it
            report = self._run_alone(call, watch)
        return report

    def close(self) -> None:
        """The lanes belong to all."""

    def _run(self, call: Call, watch: Watch | None) -> Report:
        slots = self._lanes.slots
        if not call.slot:
            with slots.beside(self.device) as waited, self._lanes.lane(self.device) as lane:
                self.waited += waited
                return lane.run(replace(call, device=self.device), watch)
        with closing(_Slot(self, slots, self._admit)) as slot:
            self.device = slots.only or slot.take()
            with self._lanes.lane(self.device) as lane:
                return lane.run(replace(call, device=self.device), watch, slot)

    def _run_alone(self, call: Call, watch: Watch | None) -> Report:
        with self._lanes.slots.alone(self.device) as waited, self._lanes.lane(self.device) as lane:
            self.waited += waited
            return lane.run(replace(call, device=self.device), watch)


class _Slot:
    """A slot that is taken once, in a lane as the turn of a call or before, and given back as soon as it is left."""

    def __init__(self, seat: Seat, slots: Slots, admit: Callable[[], None]) -> None:
        self._seat, self._slots, self._admit = seat, slots, admit
        self._device: str | None = None

    def take(self) -> str:
        """Its device."""
        if self._device is None:
            self._device, waited = self._slots.take()
            self._seat.waited += waited
            self._admit()
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._slots.give_back(self._device)
            self._device = None

    def __enter__(self) -> str:
        return self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
