"""What keeps a run: its time, its first child, its user's word, and the models it waits for."""

import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import pytest

from agent import keeper as module
from agent.budget import Budget, Clock, Limits
from agent.events import Answered, Bred, Drawn, Foretold, Memo, Recalled, RunStarted, Settled, StopRequested
from agent.fitness import Fitness
from agent.gate import Gate, Halted
from agent.genome import Genome
from agent.individual import SEED_ID, Birth, Failure, Individual, Variant
from agent.keeper import Keeper
from agent.llm import Completion, LlmSettings, Message, Request, Usage, open_model
from agent.pilot import Pilot

GENOME = Genome({"model.py": "x = 1\n"})


class Hands:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = self.wall = 1e9
        self.clock = Clock(lambda: self.seconds, lambda: self.wall)


@pytest.fixture
def hands():
    return Hands()


def trained(id, seconds=20.0):
    return Settled(Individual(Birth(id, 0), GENOME, Fitness({"accuracy": 0.5})), seconds)


def kept(hands, models=(), ended=None, memo=None, **limits):
    """(keeper, what it shows): of a run that has just begun."""
    shown = []
    budget = Budget(Limits(**limits), clock=hands.clock)
    keeper = Keeper(budget, models, ended or (lambda: None), 100, shown.append, memo or Memo())

    def see(*events):
        for event in events:
            budget.see(event)
            keeper.see(event)

    see(RunStarted({}, "full", ()), trained(SEED_ID))
    keeper.record = see
    return keeper, shown


def bred(id):
    answer = Answered(id, 0, Completion("", "stop", Usage(1, 1), 0.5, 2.0, "m"))
    return Drawn(Birth(id, 0)), answer, Bred(Variant(Birth(id, 0), GENOME))


def test_after_the_grace_calls_and_evaluations_are_ended_and_nothing_begins(hands, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    model, ended = open_model(f"inbox:{tmp_path / 'inbox'}", LlmSettings()), threading.Event()
    keeper, _ = kept(hands, [model], ended.set, hours=1.0, reserve=0.0, grace_seconds=60.0)
    with ThreadPoolExecutor(1) as threads, keeper.keeping():
        call = threads.submit(model.complete, Request((Message("user", "?"),)))
        hands.seconds += 3600
        assert not ended.wait(0.2)  # the grace
        assert not keeper.gate.cut and not call.done() and keeper.gives_up()
        hands.seconds += 60
        assert ended.wait(10)
        with pytest.raises(CancelledError):
            call.result(timeout=10)
    assert keeper.gate.cut and not keeper.gate.stopped
    assert keeper.gate.ceiling.startswith("hours: 1.02 used of 1.00; ")
    for ask in (keeper.gate.to_breed, keeper.gate.to_evaluate):
        with pytest.raises(Halted):
            ask("0001")


def test_a_wall_clock_that_is_set_back_leaves_the_hours_as_they_are(hands, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    ended = threading.Event()
    keeper, _ = kept(hands, ended=ended.set, hours=1.0, reserve=0.0, grace_seconds=0.0)
    with keeper.keeping():
        hands.wall -= 86400
        hands.seconds += 3599
        assert not ended.wait(0.2)
        hands.wall += 2 * 86400
        assert not ended.wait(0.2)
        hands.seconds += 1
        assert ended.wait(10)


def test_without_a_limit_of_time_nothing_ends(hands, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    ended = threading.Event()
    keeper, _ = kept(hands, ended=ended.set, usd=1.0)
    with keeper.keeping():
        hands.seconds += 1e9
        assert not ended.wait(0.2)


def test_the_forecast_is_told_once_when_the_first_child_is_bred_and_shown_with_each_result(hands):
    keeper, shown = kept(hands, hours=1.0, reserve=0.0)
    assert not [one for one in shown if isinstance(one, Foretold)]
    keeper.record(*bred("0001"))
    (first,) = [one for one in shown if isinstance(one, Foretold)]
    assert first.aloud and first.words.startswith("20 s and 0.5000 USD a variant; 100 more variants by ")
    keeper.record(*bred("0002"), trained("0001"))
    _, second = [one for one in shown if isinstance(one, Foretold)]
    assert not second.aloud


def test_what_a_resume_passes_by_is_shown_as_recalled(hands):
    old = trained("0001").outcome
    keeper, shown = kept(hands, memo=Memo(outcomes={"0001": old}, births={"0001": old.birth}))
    keeper.record(Settled(old), trained("0002"))
    assert [type(one) for one in shown if not isinstance(one, Foretold)] == [RunStarted, Settled, Recalled, Settled]


def test_a_stop_shuts_the_gate_closes_who_waits_for_a_person_and_is_shown(hands, tmp_path):
    patient = open_model(f"inbox:{tmp_path / 'inbox'}", LlmSettings())
    keeper, shown = kept(hands, [patient])
    keeper._stop("stopped by the user")
    assert keeper.gate.stopped == "stopped by the user" and keeper.gives_up()
    assert shown[-1] == StopRequested("stopped by the user")
    with pytest.raises(CancelledError):
        patient.complete(Request((Message("user", "?"),)))


class TestPilot:
    def test_others_wait_until_the_first_has_landed(self):
        pilot, passed = Pilot(), threading.Event()
        gate = Gate(pilot=pilot)
        gate.to_breed("0001")
        gate.to_breed("0001")  # its repair goes too
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(gate.to_breed, "0002")
            other.add_done_callback(lambda _: passed.set())
            assert not passed.wait(0.3)
            pilot.land()
            other.result(timeout=10)

    def test_they_do_not_wait_for_ever(self):
        gate = Gate(pilot=Pilot(seconds=0.1))
        gate.to_breed("0001")
        began = time.monotonic()
        gate.to_breed("0002")
        assert time.monotonic() - began >= 0.05

    def test_who_waits_is_let_go_when_the_run_is_stopped(self):
        gate = Gate(pilot=Pilot())
        gate.to_breed("0001")
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(gate.to_breed, "0002")
            gate.stop("stopped by the user")
            with pytest.raises(Halted):
                other.result(timeout=10)

    @pytest.mark.parametrize("limits", [{"usd": 9.0}, {"tokens": 10**6}, {"hours": 8.0}, {}])
    def test_only_where_money_is_limited_do_others_wait(self, hands, limits):
        keeper, _ = kept(hands, **limits)
        keeper.gate.to_breed("0001")
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(keeper.gate.to_breed, "0002")
            done, _ = wait([other], 0.3 if {"usd", "tokens"} & limits.keys() else 10)
            assert bool(done) is not bool({"usd", "tokens"} & limits.keys())
            keeper.record(*bred("0001"))
            other.result(timeout=10)

    def test_a_failure_lands_as_well(self, hands):
        keeper, _ = kept(hands, usd=100.0)
        keeper.gate.to_breed("0001")
        keeper.record(Drawn(Birth("0001", 0)), Settled(Failure(Birth("0001", 0), "answer", "no code")))
        keeper.gate.to_breed("0002")
