"""Which call may use which device, without any sandbox: threads that ask, and a test that waits until they are in line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from sandbox import Call, CallLimits, Report, SandboxUnavailable
from sandbox.pool.lanes import Lanes
from sandbox.pool.leases import Slots


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


class Asker(threading.Thread):
    """Asks for something in a thread of its own; `got` is what it was given, or the exception."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.got: object = None
        self.start()

    def run(self) -> None:
        try:
            self.got = self._ask()
        except SandboxUnavailable as error:
            self.got = error


def waiting(slots: Slots) -> int:
    """For a slot."""
    return len(slots._trainings)


def test_slots_are_given_in_the_order_of_asking_and_none_twice():
    slots = Slots(["cpu"] * 2, beside=1)
    assert [slots.take()[0], slots.take()[0]] == ["cpu", "cpu"]
    order: list[int] = []

    def take(number: int) -> None:
        slots.take()
        order.append(number)

    askers = []
    for number in range(20):
        askers.append(Asker(lambda number=number: take(number)))
        until(lambda number=number: waiting(slots) == number + 1)
    for given in range(20):
        assert len(order) == given
        slots.give_back("cpu")
        until(lambda given=given: len(order) == given + 1)
    assert order == list(range(20))


def test_the_device_with_the_largest_free_share_comes_first():
    slots = Slots(["cuda:0", "cuda:1", "cuda:0", "cuda:1"], beside=1)
    assert sorted([slots.take()[0], slots.take()[0]]) == ["cuda:0", "cuda:1"]
    slots.give_back("cuda:1")
    assert slots.take()[0] == "cuda:1"


def test_a_slot_of_any_device_ends_the_wait():
    slots = Slots(["cuda:0", "cuda:1"], beside=1)
    slots.take(), slots.take()
    asker = Asker(lambda: slots.take()[0])
    until(lambda: waiting(slots) == 1)
    slots.give_back("cuda:1")
    asker.join(20)
    assert asker.got == "cuda:1"


def test_a_share_of_a_gpu_is_one_by_its_slots():
    slots = Slots(["cuda:0"] * 4 + ["cuda:1"], beside=1)
    assert [slots.gpus(device) for device in ("cuda:0", "cuda:1", "cpu", "cuda:7")] == [0.25, 1.0, 0.0, 0.0]


def test_beside_the_slots_only_so_many_run_at_once_and_the_time_waited_is_returned():
    slots = Slots(["cpu"], beside=1)
    waited: list[float] = []

    def short() -> None:
        with slots.beside("cpu") as seconds:
            waited.append(seconds)

    with slots.beside("cpu") as none:
        assert none < 1
        asker = Asker(short)
        until(lambda: len(slots._others) == 1)
        time.sleep(0.1)
        assert waited == []
    asker.join(20)
    assert waited[0] >= 0.1
    slots.take()  # they take no slot


class TestAlone:
    """Exclusive use of a device."""

    def test_it_waits_for_all_running_calls_and_admits_none_meanwhile(self):
        slots = Slots(["cuda:0", "cuda:0", "cuda:1"], beside=4)
        assert [slots.take()[0] for _ in range(3)].count("cuda:0") == 2
        log: list[str] = []
        free = threading.Event()

        def alone() -> None:
            with slots.alone("cuda:0"):
                log.append("alone")
                free.wait(20)
                log.append("done")

        beside = slots.beside("cuda:0")
        beside.__enter__()
        first = Asker(alone)
        until(lambda: slots._reserved["cuda:0"])
        late = Asker(lambda: (slots.take(), log.append("late")))
        slots.give_back("cuda:0")
        slots.give_back("cuda:0")
        slots.give_back("cuda:1")  # another device is given out all the while
        until(lambda: log == ["late"])
        beside.__exit__(None, None, None)
        until(lambda: log == ["late", "alone"])
        later = Asker(lambda: (slots.take(), log.append("later")))
        until(lambda: waiting(slots) == 1)
        time.sleep(0.05)
        assert log == ["late", "alone"]
        free.set()
        for asker in (first, late, later):
            asker.join(20)
        assert log == ["late", "alone", "done", "later"]

    def test_two_who_want_it_have_it_one_after_the_other(self):
        slots = Slots(["cuda:0"] * 2, beside=1)
        inside, most = [], []

        def alone() -> None:
            for _ in range(20):
                with slots.alone("cuda:0"):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)
                    inside.pop()

        askers = [Asker(alone) for _ in range(3)]
        for asker in askers:
            asker.join(20)
        assert set(most) == {1}
        assert slots.take()[0] == "cuda:0"


def test_closing_refuses_waiting_and_later_calls():
    slots = Slots(["cuda:0"], beside=1)
    slots.take()
    with slots.beside("cuda:0"):
        asks = (slots.take, slots.beside("cuda:0").__enter__, slots.alone("cuda:0").__enter__)
        askers = [Asker(ask) for ask in asks[:2]]
        until(lambda: waiting(slots) == 1 and len(slots._others) == 1)
        askers.append(Asker(asks[2]))
        until(lambda: slots._reserved["cuda:0"])
        slots.close()
        for asker in askers:
            asker.join(20)
        assert all(isinstance(asker.got, SandboxUnavailable) for asker in askers)
    with pytest.raises(SandboxUnavailable):
        slots.take()


class Played:
    """A lane that notes when calls run; `hold` keeps those of a name running until it is set."""

    level = "none"

    def __init__(self, present, seen, hold):
        self.present, self.seen, self.hold = present, seen, hold

    def run(self, call, watch=None, turn=None):
        with turn or nullcontext():
            self.present.append(call.entry)
            self.seen.append((call.entry, tuple(sorted(self.present))))
            if call.entry in self.hold:
                assert self.hold[call.entry].wait(20)
            self.present.remove(call.entry)
        return Report("exit", 0, 0.1, 0.1, 1)

    def close(self):
        pass


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cuda:0", "cuda:1")])
def test_what_is_timed_waits_for_the_trainings_and_keeps_all_others_waiting(devices):
    present, seen, hold = [], [], {"long": threading.Event(), "timed": threading.Event()}
    lanes = Lanes("none", lambda: Played(present, seen, hold), devices)
    limits = CallLimits(1, 1, 1)

    def run(entry, *, alone=False, slot=True):
        lease = lanes.lease()
        with lease.alone() if alone else nullcontext():
            lease.run(Call(entry, {}, limits, slot=slot))
            if alone:
                lease.run(Call("again", {}, limits))
        return lease

    def start(*arguments, **options):
        thread = threading.Thread(target=run, args=arguments, kwargs=options, daemon=True)
        thread.start()
        return thread

    threads = [start("long")]
    until(lambda: present == ["long"])
    threads.append(start("timed", alone=True))
    time.sleep(0.1)
    threads += [start("training"), start("smoke", slot=False)]
    time.sleep(0.1)
    assert present == ["long"]
    hold["long"].set()
    until(lambda: present == ["timed"])
    time.sleep(0.1)
    assert present == ["timed"]
    hold["timed"].set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [(entry, beside) for entry, beside in seen if entry in ("timed", "again")] == [
        ("timed", ("timed",)), ("again", ("again",))
    ]  # fmt: skip
    assert {entry for entry, _ in seen} == {"long", "timed", "again", "training", "smoke"}
    lanes.close()
