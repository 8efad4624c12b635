"""The facade over several sandboxes: with real ones what a `Sandbox` promises, with simulated ones the failures of a GPU."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from sandbox import Call, CallLimits, Report, SandboxUnavailable
from sandbox.launch.client import ForkServerSandbox
from sandbox.pool.lanes import Lanes, Lease

LEVEL = "contained"
ENDLESS = """
import ctypes, time
def main(child):
    ctypes.CDLL(None).prctl(15, ctypes.c_char_p(child.options["comm"].encode()), 0, 0, 0)
    while True:
        print(child.options["comm"], flush=True)
        time.sleep(0.01)
"""
QUICK = "def main(child): return child.device.encode()"


def until(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def lanes_of(fork_server, sandbox, own_tmp) -> Iterator[Callable[..., Lanes]]:
    sandbox(LEVEL)  # skips what this machine cannot do
    made: list[Lanes] = []

    def make(slots: int, **settings) -> Lanes:
        made.append(Lanes(LEVEL, lambda: ForkServerSandbox(LEVEL, fork_server=fork_server), ["cpu"] * slots, **settings))
        return made[-1]

    yield make
    for lanes in made:
        lanes.close()


class Training(threading.Thread):
    """A call with a slot that runs until `end` is set; `started` is set when it runs."""

    count = 0

    def __init__(self, box: Lanes | Lease, call: Callable[..., Call]) -> None:
        super().__init__(daemon=True)
        Training.count += 1
        self.comm = f"ev{os.getpid()}-{Training.count}"
        self.started, self.end = threading.Event(), threading.Event()
        self.report: Report | None = None
        self.error: Exception | None = None
        self._box, self._call = box, call(ENDLESS, slot=True, seconds=60, options={"comm": self.comm})
        self.start()

    def _watch(self, line: str) -> bool:
        self.started.set()
        return not self.end.is_set()

    def run(self) -> None:
        try:
            self.report = self._box.run(self._call, self._watch)
        except Exception as error:
            self.error = error

    def stop(self) -> Report:
        self.end.set()
        self.join(30)
        assert self.report is not None, self.error
        return self.report


class TestRealSandboxes:
    def test_a_call_is_what_it_is_in_any_sandbox(self, lanes_of, call):
        lanes = lanes_of(1)
        for slot in (True, False):
            assert lanes.run(call(QUICK, slot=slot)).result == b"cpu"
            report = lanes.run(call("def main(child): raise ValueError('no')", slot=slot))
            assert (report.cause, report.status) == ("exit", 1)
            assert "ValueError: no" in report.log
            assert lanes.run(call("while True: pass", slot=slot, seconds=0.3)).cause == "timeout"
            words = {layer.split(" ")[0] for layer in report.layers}
            assert {"rlimits", "landlock", "seccomp"} <= words

    def test_as_many_train_as_there_are_slots_and_all_else_runs_beside_them(self, lanes_of, call):
        lanes = lanes_of(2)
        first, second, third = (Training(lanes, call) for _ in range(3))
        assert until(lambda: sum(t.started.is_set() for t in (first, second, third)) == 2)
        assert [lanes.run(call(QUICK)).result for _ in range(3)] == [b"cpu"] * 3
        running = [t for t in (first, second, third) if t.started.is_set()]
        assert len(running) == 2
        running[0].stop()
        (last,) = {first, second, third} - set(running)
        assert last.started.wait(30)
        assert not running[1].end.is_set()
        for training in (running[1], last):
            assert training.stop().cause == "stopped"

    def test_a_slot_passes_from_one_training_to_the_next_in_their_order(self, lanes_of, call):
        lanes = lanes_of(1)
        line = []
        for number in range(4):
            line.append(Training(lanes, call))
            assert until(lambda number=number: line[0].started.is_set() and len(lanes.slots._trainings) == number)
        for training, following in zip(line, [*line[1:], None], strict=True):
            assert training.started.wait(30)
            assert following is None or not following.started.is_set()
            training.stop()

    def test_waiting_for_a_slot_is_reported_apart_from_training(self, lanes_of, call):
        lanes = lanes_of(1)
        first = Training(lanes, call)
        assert first.started.wait(30)
        lease = lanes.lease()
        second = Training(lease, call)
        assert until(lambda: len(lanes.slots._trainings) == 1)
        time.sleep(0.8)
        first.stop()
        assert second.started.wait(30)
        report = second.stop()
        assert lease.waited >= 0.8
        assert report.seconds < 0.8

    def test_a_time_limit_does_not_run_while_a_call_waits(self, lanes_of, call):
        lanes = lanes_of(1)
        first = Training(lanes, call)
        assert first.started.wait(30)
        found: list[Report] = []
        short = call("import time\ndef main(child): time.sleep(0.3); return b'done'", slot=True, seconds=2)
        second = threading.Thread(target=lambda: found.append(lanes.run(short)))
        second.start()
        assert until(lambda: len(lanes.slots._trainings) == 1)
        time.sleep(2.2)
        first.stop()
        second.join(30)
        assert found[0].result == b"done"

    def test_a_training_that_is_not_admitted_gives_its_slot_back(self, lanes_of, call):
        lanes = lanes_of(1)

        def refuse() -> None:
            raise LookupError("no more")

        with pytest.raises(LookupError):
            lanes.lease(refuse).run(call(QUICK, slot=True))
        assert lanes.run(call(QUICK, slot=True)).result == b"cpu"
        assert lanes.lease(refuse).run(call(QUICK)).result == b"cpu"  # what does not train is not asked for

    def test_closing_ends_what_runs_and_sends_away_what_waits(self, lanes_of, call, named):
        lanes = lanes_of(1)
        running = Training(lanes, call)
        assert running.started.wait(30)
        waiting = Training(lanes, call)
        assert until(lambda: len(lanes.slots._trainings) == 1)
        lanes.close()
        for training in (running, waiting):
            training.join(30)
            assert isinstance(training.error, SandboxUnavailable)
            assert until(lambda training=training: not named(training.comm), 5)
        assert not waiting.started.is_set()
        with pytest.raises(SandboxUnavailable):
            lanes.run(call(QUICK))
        lanes.close()

    def test_when_a_lane_breaks_the_call_is_repeated_in_another_and_only_once(self, lanes_of, call):
        lanes = lanes_of(1)
        servers: list[int] = []

        def kill(times: int) -> Callable[[str], bool]:
            left = [times]

            def watch(line: str) -> bool:
                servers.append(int(line))
                if left[0]:
                    left[0] -= 1
                    os.kill(lanes._all[0]._server._process.pid, signal.SIGKILL)
                    time.sleep(0.5)
                return True

            return watch

        source = "import os, time\ndef main(child): print(os.getpid(), flush=True); time.sleep(0.3); return b'done'"
        assert lanes.run(call(source, slot=True), kill(1)).result == b"done"
        assert len(set(servers)) == 2
        with pytest.raises(SandboxUnavailable):
            lanes.run(call(source, slot=True), kill(2))
        assert lanes.run(call(source, slot=True)).result == b"done"  # and its slot came back each time

    def test_many_threads_lose_nothing_and_none_starves(self, lanes_of, call):
        lanes = lanes_of(2, beside=2)
        source = "import time\ndef main(child): time.sleep(0.005); return repr(child.options['n']).encode()"
        found: dict[int, list[bytes]] = {}

        def work(number: int) -> None:
            lease = lanes.lease()
            found[number] = [
                lease.run(call(source, slot=turn % 2 == 1, options={"n": (number, turn)})).result for turn in range(4)
            ]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == {n: [repr([n, turn]).encode() for turn in range(4)] for n in range(12)}
        assert len(lanes._all) <= 12


GPU = "cuda:0"
LIMITS = CallLimits(seconds=1, memory=1, result=1)
FIT, PREDICT, SMOKE = (Call(f"x:{name}", {}, LIMITS, slot=name == "fit") for name in ("fit", "predict", "smoke"))


@dataclass
class Device:
    """A GPU of simulated lanes: the calls on it, and the calls that it fails."""

    fails: list[str] = field(default_factory=list)
    """Entries of the calls that are to fail, once each."""
    holds: threading.Event = field(default_factory=threading.Event)
    """Calls that do not fail end when it is set."""
    present: list[str] = field(default_factory=list)
    log: list[tuple[str, str, int]] = field(default_factory=list)
    """(entry, device, how many were on it) of each call, as it began."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class PlayedLane:
    def __init__(self, device: Device) -> None:
        self._device = device

    def run(self, call, watch=None, turn=None):
        if turn is not None:
            with turn:
                return self._run(call)
        return self._run(call)

    def _run(self, call):
        d, name = self._device, call.entry
        with d.lock:
            d.present.append(name)
            d.log.append((name, call.device, len(d.present)))
            failing = name in d.fails
            if failing:
                d.fails.remove(name)
        if not failing:
            assert d.holds.wait(30)
        with d.lock:
            d.present.remove(name)
        if failing:
            return Report("device", 1, 0.1, 0.1, 1, log="torch.OutOfMemoryError: CUDA out of memory.")
        return Report("exit", 0, 0.1, 0.1, 1, b"done")

    def close(self):
        pass


class TestGpus:
    """Simulated lanes: the facade knows a device only from its reports."""

    def test_an_evaluation_stays_on_the_device_of_its_training(self):
        device = Device()
        device.holds.set()
        lease = Lanes("none", lambda: PlayedLane(device), [GPU]).lease()
        for call in (SMOKE, FIT, PREDICT):
            assert lease.run(call).ok
        assert [on for _, on, _ in device.log] == ["cpu", GPU, GPU]
        assert lease.device == GPU

    def test_a_call_that_the_device_failed_is_repeated_alone_on_it(self):
        device = Device(fails=["x:fit"])
        lanes = Lanes("none", lambda: PlayedLane(device), [GPU] * 2)
        other = threading.Thread(target=lambda: lanes.run(replace(FIT, entry="x:other")))
        other.start()
        assert until(lambda: device.present == ["x:other"])
        found: list[Report] = []
        failing = threading.Thread(target=lambda: found.append(lanes.run(FIT)))
        failing.start()
        assert until(lambda: lanes.slots._reserved[GPU])
        assert not found
        device.holds.set()
        failing.join(30)
        assert found[0].ok
        assert device.log == [("x:other", GPU, 1), ("x:fit", GPU, 2), ("x:fit", GPU, 1)]

    def test_a_second_failure_is_final(self):
        device = Device(fails=["x:fit", "x:fit", "x:predict", "x:predict"])
        device.holds.set()
        lanes = Lanes("none", lambda: PlayedLane(device), [GPU])
        for call in (FIT, PREDICT):
            report = lanes.run(call)
            assert report.cause == "device"
            assert not report.ok
        assert lanes.run(FIT).ok
        assert len(device.log) == 5

    def test_several_trainings_share_a_device_and_each_gpu_gets_its_own(self):
        device = Device()
        lanes = Lanes("none", lambda: PlayedLane(device), [GPU, "cuda:1"] * 2)
        threads = [threading.Thread(target=lanes.run, args=(FIT,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        assert until(lambda: len(device.present) == 4 and len(lanes.slots._trainings) == 1)
        assert sorted(on for _, on, _ in device.log) == [GPU, GPU, "cuda:1", "cuda:1"]
        device.holds.set()
        for thread in threads:
            thread.join(30)
        assert len(device.log) == 5
