"""The supervisor of a run: time limits, the first candidate, stops by the user, and models that wait for a person."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait

import pytest

from agent.budget import Budget, Clock, RunLimits
from agent.core.errors import Halted
from agent.core.objectives import Fitness
from agent.genome import Genome
from agent.journal.events import (
    Answered,
    Bred,
    EliteRetrained,
    ForecastUpdated,
    Proposed,
    Restored,
    RunStarted,
    Settled,
    StopRequested,
)
from agent.journal.replay import Replay
from agent.llm import Completion, LlmSettings, Message, Request, Usage, open_model
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Variant
from agent.run import supervisor as module
from agent.run.supervisor import Supervisor

GENOME = Genome({"model.py": "x = 1\n"})


class ManualClock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = self.wall = 1e9
        self.clock = Clock(lambda: self.seconds, lambda: self.wall)


@pytest.fixture
def manual():
    return ManualClock()


def trained(id, seconds=20.0):
    return Settled(Individual(Candidate(id, 0), GENOME, Fitness({"accuracy": 0.5})), seconds)


def supervise(manual, models=(), ended=None, replay=None, **limits):
    """Return (supervisor, events that it shows) of a run that has just started."""
    shown = []
    budget = Budget(RunLimits(**limits), clock=manual.clock)
    supervisor = Supervisor(budget, models, ended or (lambda: None), 100, shown.append, replay or Replay())

    def see(*events):
        for event in events:
            budget.see(event)
            supervisor.see(event)

    see(RunStarted({}, "full", ()), trained(SEED_ID))
    supervisor.record = see
    return supervisor, shown


def bred(id):
    answer = Answered(id, 0, Completion("", "stop", Usage(1, 1), 0.5, 2.0, "m"))
    return Proposed(Candidate(id, 0)), answer, Bred(Variant(Candidate(id, 0), GENOME))


def test_after_the_grace_calls_and_evaluations_are_ended_and_nothing_begins(manual, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    model, ended = open_model(f"inbox:{tmp_path / 'inbox'}", LlmSettings()), threading.Event()
    supervisor, _ = supervise(manual, [model], ended.set, hours=1.0, reserve=0.0, grace_seconds=60.0)
    with ThreadPoolExecutor(1) as threads, supervisor.supervised():
        call = threads.submit(model.complete, Request((Message("user", "?"),)))
        manual.seconds += 3600
        assert not ended.wait(0.2)  # the grace
        assert not supervisor.admission.is_cut and not call.done() and supervisor.gives_up()
        manual.seconds += 60
        assert ended.wait(10)
        with pytest.raises(CancelledError):
            call.result(timeout=10)
    assert supervisor.admission.is_cut and not supervisor.admission.stop_reason
    assert supervisor.admission.limit_reason.startswith("hours: 1.02 used of 1.00; ")
    for ask in (supervisor.admission.before_call, supervisor.admission.before_evaluation):
        with pytest.raises(Halted):
            ask("0001")


def test_a_wall_clock_that_is_set_back_leaves_the_hours_as_they_are(manual, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    ended = threading.Event()
    supervisor, _ = supervise(manual, ended=ended.set, hours=1.0, reserve=0.0, grace_seconds=0.0)
    with supervisor.supervised():
        manual.wall -= 86400
        manual.seconds += 3599
        assert not ended.wait(0.2)
        manual.wall += 2 * 86400
        assert not ended.wait(0.2)
        manual.seconds += 1
        assert ended.wait(10)


def test_without_a_limit_of_time_nothing_ends(manual, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    ended = threading.Event()
    supervisor, _ = supervise(manual, ended=ended.set, usd=1.0)
    with supervisor.supervised():
        manual.seconds += 1e9
        assert not ended.wait(0.2)


def test_the_forecast_is_announced_once_when_the_first_candidate_is_bred_and_shown_with_each_result(manual):
    supervisor, shown = supervise(manual, hours=1.0, reserve=0.0)
    assert not [one for one in shown if isinstance(one, ForecastUpdated)]
    supervisor.record(*bred("0001"))
    (first,) = [one for one in shown if isinstance(one, ForecastUpdated)]
    assert first.announce and first.text.startswith("20 s and 0.5000 USD a variant; 100 more variants by ")
    supervisor.record(*bred("0002"), trained("0001"))
    _, second = [one for one in shown if isinstance(one, ForecastUpdated)]
    assert not second.announce


def test_what_a_resume_replays_is_shown_as_restored(manual):
    old = trained("0001").outcome
    supervisor, shown = supervise(manual, replay=Replay(outcomes={"0001": old}, candidates={"0001": old.candidate}))
    supervisor.record(Settled(old), trained("0002"))
    assert [type(one) for one in shown if not isinstance(one, ForecastUpdated)] == [RunStarted, Settled, Restored, Settled]


def test_what_was_trained_again_is_restored_with_its_mean(manual):
    old = trained("0001").outcome
    more = Fitness({name: value + 1 for name, value in old.fitness.values.items()})
    again = {(id, 7): EliteRetrained(id, 7, more, "", 1.0) for id in ("0001", "0002")}
    replay = Replay(outcomes={"0001": old}, candidates={"0001": old.candidate}, readings=again)
    supervisor, shown = supervise(manual, replay=replay)
    supervisor.record(Settled(old))
    (restored,) = [one.outcome for one in shown if isinstance(one, Restored)]
    assert restored.trainings == 2
    assert dict(restored.fitness.values) == {name: value + 0.5 for name, value in old.fitness.values.items()}


def test_a_stop_ends_admission_closes_the_inbox_and_is_shown(manual, tmp_path):
    inbox = open_model(f"inbox:{tmp_path / 'inbox'}", LlmSettings())
    supervisor, shown = supervise(manual, [inbox])
    supervisor._stop("stopped by the user")
    assert supervisor.admission.stop_reason == "stopped by the user" and supervisor.gives_up()
    assert shown[-1] == StopRequested("stopped by the user")
    with pytest.raises(CancelledError):
        inbox.complete(Request((Message("user", "?"),)))


@pytest.mark.parametrize("limits", [{"usd": 9.0}, {"tokens": 10**6}, {"hours": 8.0}, {}])
def test_others_wait_for_the_first_candidate_only_if_dollars_or_tokens_are_limited(manual, limits):
    supervisor, _ = supervise(manual, **limits)
    supervisor.admission.before_call("0001")
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(supervisor.admission.before_call, "0002")
        done, _ = wait([other], 0.3 if {"usd", "tokens"} & limits.keys() else 10)
        assert bool(done) is not bool({"usd", "tokens"} & limits.keys())
        supervisor.record(*bred("0001"))
        other.result(timeout=10)


def test_a_failed_first_candidate_ends_the_wait_too(manual):
    supervisor, _ = supervise(manual, usd=100.0)
    supervisor.admission.before_call("0001")
    supervisor.record(Proposed(Candidate("0001", 0)), Settled(Failure(Candidate("0001", 0), "answer", "no code")))
    supervisor.admission.before_call("0002")
