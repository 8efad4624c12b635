"""Several sandboxes that look like one: a training holds a slot of a device, everything else runs next to the trainings.

A lane is a sandbox that works for one device. A call takes an idle lane, or opens another, so there are as many lanes as calls
that ran at once. A slot is only the right to train. If there is only one device, a training call gets ready in its lane first
and waits there for its turn. The turn passes on as soon as the process before it has ended, while that process is still being
cleaned up. So a slot is idle for only some milliseconds between two trainings.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from types import TracebackType

from sandbox.pool.leases import Slots
from sandbox.sandbox import Call, Lane, Level, Report, SandboxUnavailable, Watch


class Lanes:
    """A `Sandbox` over several; any number of threads may call it at once."""

    def __init__(self, level: Level, open_lane: Callable[[], Lane], devices: Sequence[str], *, beside: int = 2) -> None:
        """`devices`: the device of each slot, `cpu` or `cuda:N`; `beside`: how many calls that do not train may run at once."""
        self.level = level
        self.slots = Slots(devices, beside)
        self._open = open_lane
        self._idle: defaultdict[str, list[Lane]] = defaultdict(list)
        self._all: list[Lane] = []
        self._closed = False
        self._lock = threading.Lock()

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Run a single call. The calls of one evaluation go through one `lease`."""
        return self.lease().run(call, watch)

    def lease(self, admit: Callable[[], None] = lambda: None) -> Lease:
        """Return a sandbox for one evaluation. `admit` is called when its training has a slot; its exceptions are passed on."""
        return Lease(self, admit)

    def close(self) -> None:
        """End running calls and refuse waiting ones: their `run` raises SandboxUnavailable."""
        with self._lock:
            self._closed = True
            lanes, self._all = self._all, []
        self.slots.close()
        if lanes:
            with ThreadPoolExecutor(len(lanes)) as threads:
                list(threads.map(lambda lane: lane.close(), lanes))

    @contextmanager
    def lane(self, device: str) -> Iterator[Lane]:
        """Take a lane for this device that no other call uses. A lane that turns out to be broken is dropped."""
        with self._lock:
            if self._closed:
                raise SandboxUnavailable("the sandbox was closed")
            if not self._idle[device]:
                self._idle[device].append(self._open())
                self._all.append(self._idle[device][0])
            lane = self._idle[device].pop()  # the most recently used one: the memory of the others may have been swapped out
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


class Lease:
    """A `Sandbox` for the calls of one evaluation, one after another. It remembers the device of the training."""

    def __init__(self, lanes: Lanes, admit: Callable[[], None]) -> None:
        self.level = lanes.level
        self.device = "cpu"
        """The device of its training, once that has started; all later calls run there too."""
        self.waited = 0.0
        """Seconds in which it was ready to go on and had to wait for others."""
        self._lanes, self._admit = lanes, admit
        self._is_alone = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, only calls of this lease run, on all devices. Raises SandboxUnavailable if the sandbox is closed meanwhile."""
        with self._lanes.slots.machine() as waited:
            self.waited += waited
            self._is_alone = True
            try:
                yield
            finally:
                self._is_alone = False

    def run(self, call: Call, watch: Watch | None = None) -> Report:
        """Run one call. Raises SandboxUnavailable if it could not be run at all, in two different lanes."""
        try:
            report = self._run(call, watch)
        except SandboxUnavailable:  # a process of the sandbox has died: repeat the call, not the evaluation
            report = self._run(call, watch)
        if report.cause == "device" and not self._is_alone:  # perhaps others left too little of its memory
            report = self._run_alone(call, watch)
        return report

    def close(self) -> None:
        """Does nothing: the lanes are shared."""

    def _run(self, call: Call, watch: Watch | None) -> Report:
        slots = self._lanes.slots
        if self._is_alone:
            if call.slot:
                self.device = slots.devices[0]
                self._admit()
            with self._lanes.lane(self.device) as lane:
                return lane.run(replace(call, device=self.device), watch)
        if not call.slot:
            with slots.beside(self.device) as waited, self._lanes.lane(self.device) as lane:
                self.waited += waited
                return lane.run(replace(call, device=self.device), watch)
        with closing(_SlotOfCall(self, slots, self._admit)) as slot:
            self.device = slots.only or slot.take()
            with self._lanes.lane(self.device) as lane:
                return lane.run(replace(call, device=self.device), watch, slot)

    def _run_alone(self, call: Call, watch: Watch | None) -> Report:
        with self._lanes.slots.alone(self.device) as waited, self._lanes.lane(self.device) as lane:
            self.waited += waited
            return lane.run(replace(call, device=self.device), watch)


class _SlotOfCall:
    """A slot that is taken once, either before the call or in a lane as the turn of a call, and returned when it is left."""

    def __init__(self, lease: Lease, slots: Slots, admit: Callable[[], None]) -> None:
        self._lease, self._slots, self._admit = lease, slots, admit
        self._device: str | None = None

    def take(self) -> str:
        """Wait for a slot, unless one was taken before. Return its device."""
        if self._device is None:
            self._device, waited = self._slots.take()
            self._lease.waited += waited
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
