"""The pool over the evaluator: what holds a slot, what does not, and how both end. Lanes and task are simulated."""

import threading
import time
from concurrent.futures import wait
from contextlib import nullcontext

import pytest

from agent.core.errors import Halted, MachineError
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.population.candidate import Candidate, Duplicate, Failure, Individual, Variant
from agent.run.admission import Admission
from agent.run.context import RunContext
from agent.run.evaluation import EvaluationPool, Evaluator, EvaluatorSettings
from sandbox import CallLimits, Report, SandboxUnavailable
from sandbox.pool.lanes import Lanes
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.common.stages import Stages

GENOME = Genome({"model.py": "class Net:\n    width = 8\n"})
LIMITS = CallLimits(seconds=1, memory=1, result=1)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


class Task:
    """Three stages, of which the second trains; the variant's number goes along."""

    title, objectives, exact = "A number.", ("accuracy",), ("parameters",)
    value = 0.5

    def facts(self):
        return {}

    def evaluate(self, job, sandbox, progress=None):
        stages = Stages(job, sandbox)
        try:
            for stage in ("smoke", "fit", "predict"):
                stages.run(stage, stage, LIMITS, {}, {"id": job.sources["id"]})
        except StageFailed as failed:
            return failed.failure
        return stages.measured({"accuracy": self.value, "aside": 1.0})


class Machine:
    """Plays lanes: a call ends when its stage, or its stage of this variant, is let go."""

    def __init__(self):
        self.present = []
        self.log = []
        self.free = {"smoke", "fit", "predict"}
        self.fails = {}
        """(stage, id) -> (cause, log)."""
        self.closed = threading.Event()

    def run(self, call, watch=None, turn=None):
        here = (call.entry, call.options["id"])
        with turn or nullcontext():
            self.present.append(here)
            self.log.append((*here, call.device))
            try:
                until(lambda: self.closed.is_set() or {call.entry, here} & self.free)
            finally:
                self.present.remove(here)
        if self.closed.is_set():
            raise SandboxUnavailable("the sandbox was closed")
        cause, log = self.fails.get(here, ("exit", ""))
        return Report(cause, int(here in self.fails), 0.25, 0.1, 1, b"x", log)

    def close(self):
        self.closed.set()


class Ceilings:
    """Admits evaluations until `refusal` is set."""

    refusal = None

    def admits_breeding(self):
        return None

    def admits_call(self, id):
        return None

    def admits_evaluation(self, id):
        return self.refusal


class Pool:
    def __init__(self, devices=("cpu",), repairer=None):
        self.machine, self.ceilings, self.settled = Machine(), Ceilings(), []
        self.admission = Admission(self.ceilings)
        lanes = Lanes("none", lambda: self.machine, devices)
        self.task = Task()
        self.evaluator = Evaluator(self.task, lanes, EvaluatorSettings((Objective("accuracy", "max"),)))
        run = RunContext(self.settled.append, admission=self.admission)
        self.evaluation = EvaluationPool(run, self.evaluator, repairer)

    def submit(self, *ids):
        genomes = (Genome({**GENOME.files, "id": id}) for id in ids)
        return [self.evaluation.submit(Variant(Candidate(id, 0), genome)) for id, genome in zip(ids, genomes, strict=True)]


@pytest.fixture
def open_pool():
    pools = []

    def make(*arguments, **settings):
        pools.append(Pool(*arguments, **settings))
        return pools[-1]

    yield make
    for pool in pools:
        pool.evaluation.close()
        pool.evaluator.close()


def test_the_next_variant_is_ready_and_the_last_one_is_scored_beside_the_training(open_pool):
    pool = open_pool()
    pool.machine.free = {"smoke"}
    pool.submit("1", "2", "3")
    until(lambda: pool.machine.present == [("fit", "1")] and len(pool.machine.log) == 4)  # 2 and 3 have passed smoke
    pool.machine.free.add(("fit", "1"))
    until(lambda: sorted(pool.machine.present) in ([("fit", "2"), ("predict", "1")], [("fit", "3"), ("predict", "1")]))


def test_the_reported_time_is_that_of_the_evaluation_without_waiting(open_pool):
    pool = open_pool(["cuda:3"] * 2)
    pool.machine.free = {"smoke", "predict"}
    futures = pool.submit("1", "2", "3")
    until(lambda: len(pool.machine.present) == 2 and len(pool.machine.log) == 5)
    time.sleep(0.3)
    pool.machine.free.add("fit")
    wait(futures)
    (last,) = (f.result() for f in futures if f.result().evidence.waited >= 0.3)
    assert last.evidence.seconds == {"smoke": 0.25, "fit": 0.25, "predict": 0.25}
    assert last.evidence.device == "cuda:3"
    (settled,) = (event for event in pool.settled if event.outcome.id == last.id)
    assert settled.seconds < 0.3
    assert {event.gpus for event in pool.settled} == {0.5}


def test_a_variant_that_never_trained_held_no_gpu(open_pool):
    pool = open_pool(["cuda:0"])
    pool.machine.fails[("smoke", "1")] = ("exit", "ValueError: no")
    assert pool.submit("1")[0].result().stage == "smoke"
    assert pool.settled[0].gpus == 0
    assert pool.machine.log == [("smoke", "1", "cpu")]


def test_when_a_run_is_asked_to_stop_what_trains_is_finished_and_what_waits_is_left(open_pool):
    pool = open_pool()
    pool.machine.free = {"smoke", "predict"}
    futures = pool.submit(*"123456789")
    until(lambda: [stage for stage, _, _ in pool.machine.log].count("smoke") == 3 and len(pool.machine.present) == 1)
    ((_, trained),) = pool.machine.present
    pool.admission.stop("stopped by the user")
    pool.machine.free.add("fit")
    wait(futures, 20)
    ends = {id: future.exception() or future.result() for id, future in zip("123456789", futures, strict=True)}
    assert isinstance(ends.pop(trained), Individual)
    assert all(isinstance(end, Halted) for end in ends.values())
    assert [event.outcome.id for event in pool.settled] == [trained]


def test_a_ceiling_that_is_reached_while_a_variant_waits_keeps_it_from_training(open_pool):
    pool = open_pool()
    pool.machine.free = {"smoke", "predict"}
    futures = pool.submit("1", "2")
    until(lambda: len(pool.machine.log) == 3 and len(pool.machine.present) == 1)
    pool.ceilings.refusal = type("Refusal", (), {"reason": "hours: all used"})
    pool.machine.free.add("fit")
    wait(futures, 20)
    assert sorted(type(future.exception()).__name__ for future in futures) == ["Halted", "NoneType"]
    pool.ceilings.refusal = None
    assert isinstance(pool.submit("3")[0].result(20), Individual)  # the slot came back


def test_closing_ends_all_at_once_and_settles_nothing(open_pool):
    pool = open_pool()
    pool.machine.free = {"smoke"}
    futures = pool.submit(*"123456789")
    until(lambda: len(pool.machine.present) == 1)
    began = time.monotonic()
    pool.evaluation.close()
    pool.evaluator.close()
    started = [future for future in futures if not future.cancelled()]
    wait(started, 20)
    assert time.monotonic() - began < 5
    assert len(started) == 6
    assert all(isinstance(future.exception(), MachineError) for future in started)
    assert pool.settled == []


def test_a_gpu_that_fails_a_training_twice_is_a_failure_with_the_reason(open_pool):
    pool = open_pool(["cuda:0"] * 2)
    shown = 'Traceback (most recent call last):\n  File "model.py", line 7\ntorch.OutOfMemoryError: CUDA out of memory.\n'
    pool.machine.fails[("fit", "1")] = ("device", shown)
    failure = pool.submit("1")[0].result(20)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.reason.rstrip(".")) == ("fit", "torch.OutOfMemoryError: CUDA out of memory")
    assert [entry for entry in pool.machine.log if entry[0] == "fit"] == [("fit", "1", "cuda:0")] * 2
    assert pool.settled[0].gpus == 0.5


def test_while_models_repair_programs_others_train(open_pool):
    answered = threading.Event()

    class Slow:
        def repair(self, variant, failure):
            assert answered.wait(20)

    pool = open_pool(repairer=Slow())
    ill = ["1", "2", "3"]  # as many as may be under way at once
    pool.machine.fails = {("smoke", id): ("exit", "ValueError: no") for id in ill}
    futures = pool.submit(*ill, "4")
    assert isinstance(futures[3].result(20), Individual)
    answered.set()
    assert {future.result(20).stage for future in futures[:3]} == {"smoke"}


class Repairer:
    """Repairs by this program."""

    def __init__(self, files):
        self.files = files

    def repair(self, variant, failure):
        return None if variant.genome.files == self.files else Variant(variant.candidate, Genome(self.files))


@pytest.mark.parametrize(("owner", "kind"), [("seed", Duplicate), ("1", Failure)])
def test_a_repair_that_returns_to_a_known_program_is_not_trained(open_pool, owner, kind):
    pool = open_pool(repairer=Repairer({**GENOME.files, "id": "known"}))
    pool.machine.fails[("smoke", "1")] = ("exit", "broken")
    variant = Variant(Candidate("1", 0), Genome({**GENOME.files, "id": "1"}))
    outcome = pool.evaluation.submit(variant, lambda repaired: owner).result()
    assert isinstance(outcome, kind) and not [one for one in pool.machine.log if one[0] == "fit"]
    assert outcome in [event.outcome for event in pool.settled]


@pytest.mark.parametrize("value", [1e308, -1e250, 5e-324, 1e20, float("inf"), float("nan")])
def test_a_value_that_nothing_can_be_computed_of_is_the_candidates_failure(open_pool, value):
    pool = open_pool()
    pool.evaluator.expect(Fitness({"accuracy": 0.5}))
    pool.task.value = value
    outcome = pool.submit("0001")[0].result(20)
    assert isinstance(outcome, Failure) and outcome.stage == "score" and "accuracy is" in outcome.reason
    timed = pool.evaluator.retrain("0001", Genome({**GENOME.files, "id": "0001"}), 7, test_too=False, admit=lambda: None)
    assert timed.result.stage == "score" and "accuracy is" in timed.result.reason
