"""The trainings of a seed, with simulated lanes and a real journal: what is journaled, what a resume repeats, how they end."""

import pytest

from agent.core.errors import Halted, MachineError, UserError
from agent.core.objectives import Objective
from agent.genome import Genome
from agent.journal.events import SeedFailed, SeedTraining
from agent.journal.replay import read_replay
from agent.journal.store import Journal
from agent.population.candidate import SEED_ID
from agent.run.admission import Admission
from agent.run.config import Config, NoiseSection
from agent.run.context import RunContext
from agent.run.evaluation import Evaluator, EvaluatorSettings
from agent.run.seed import SeedTrainings, check
from sandbox.pool.lanes import Lanes
from tests.run.test_evaluation import Machine, Task

GENOME = Genome({"model.py": "class Net:\n    width = 8\n"})
ACCURACY = (Objective("accuracy", "max"),)


class SeededTask(Task):
    """Knows its calls by the training seed."""

    def evaluate(self, job, sandbox, progress=None):
        job.sources["id"] = str(job.training_seed)
        return super().evaluate(job, sandbox, progress)

    def check(self, job, sandbox):
        return None


class Process:
    """A process that trains the seed and measures the noise; another one on the same file is its resume."""

    def __init__(self, file):
        self.machine, self.admission, self.shown = Machine(), Admission(), []
        self.journal = Journal(file)
        replay = read_replay(self.journal, GENOME)
        run = RunContext(self.journal.record, Config(noise=NoiseSection(trainings=3)), replay, self.admission)
        lanes = Lanes("none", lambda: self.machine, ("cpu", "cpu"))
        self.evaluator = Evaluator(SeededTask(), lanes, EvaluatorSettings(ACCURACY))
        self.trainings = SeedTrainings(run, self.evaluator, self.shown.append)

    def work(self):
        return self.trainings.measure_noise(self.trainings.train(GENOME), ACCURACY)

    @property
    def trained(self):
        """The training seeds of the trainings that were begun."""
        return sorted(int(seed) for stage, seed, _ in self.machine.log if stage == "fit")

    def keys(self, kind):
        return sorted(key for _, _, key, _ in self.journal.events(kind))


@pytest.fixture
def begin(tmp_path):
    opened = []

    def process():
        opened.append(Process(tmp_path / "journal.db"))
        return opened[-1]

    yield process
    for one in opened:
        one.evaluator.close()
        one.journal.close()


def test_each_training_is_journaled_when_it_ends_and_none_is_repeated(begin):
    first = begin()
    first.machine.fails[("fit", "3")] = ("exit", "ValueError: not with this one\n")
    with pytest.raises(MachineError, match="training seed 0 and fails with 3: ValueError: not with this one"):
        first.work()
    assert first.trained == [0, 1, 2, 3]
    assert (first.keys("settled"), first.keys("repeated")) == ([SEED_ID], ["1", "2"])
    ((_, _, _, failed),) = first.journal.events("seed_failed")
    assert (failed["training_seed"], failed["stage"]) == (3, "fit") and failed["seconds"] >= 0
    assert [(s.made, s.planned) for s in first.shown] == [(0, 4), (1, 4), (2, 4), (3, 4)]

    second = begin()
    assert second.work().trainings == 4
    assert second.trained == [3]
    assert (second.keys("repeated"), second.shown[0]) == (["1", "2", "3"], SeedTraining(3, 4))

    third = begin()
    assert third.work().trainings == 4
    assert (third.trained, third.shown) == ([], [])


def test_a_seed_that_does_not_train_is_journaled_as_that_and_tried_again(begin):
    first = begin()
    first.machine.fails[("fit", "0")] = ("timeout", "")
    with pytest.raises(MachineError, match=r"does not train \(stage fit\): It ran longer than its limit"):
        first.work()
    assert (first.keys("settled"), len(first.keys("seed_failed"))) == ([], 1)
    second = begin()
    second.work()
    assert second.trained == [0, 1, 2, 3]
    assert second.keys("settled") == [SEED_ID]


def test_what_fails_because_the_run_is_stopped_is_no_failure_of_the_seed(begin):
    process = begin()
    process.machine.fails[("fit", "0")] = ("stopped", "")
    process.admission.before_evaluation = lambda id: process.admission.stop("stopped by the user")
    with pytest.raises(Halted):
        process.work()
    assert list(process.journal.events()) == []


def test_nothing_is_trained_once_the_run_is_stopped(begin):
    process = begin()
    record = process.journal.record

    def stop_then(event):
        record(event)
        process.admission.stop("stopped by the user")

    process.trainings = SeedTrainings(
        RunContext(stop_then, process.trainings.run.config, admission=process.admission), process.evaluator, process.shown.append
    )
    with pytest.raises(Halted):
        process.work()
    assert (process.trained, process.keys("settled")) == ([0], [SEED_ID])  # what was under way is kept


def test_the_check_before_a_run_trains_nothing(begin):
    process = begin()
    check(process.evaluator, GENOME, "nets/mine")
    assert "predict" not in {stage for stage, *_ in process.machine.log}
    process.machine.fails[("smoke", "0")] = ("exit", "TypeError: forward\n")
    with pytest.raises(UserError, match=r"The seed nets/mine does not train \(stage smoke\): TypeError: forward"):
        check(process.evaluator, GENOME, "nets/mine")
    assert list(process.journal.events()) == []


def test_a_failed_training_ends_in_the_books(begin):
    from agent.budget import Spend
    from agent.journal.events import RunStarted

    journal, spend = begin().journal, Spend()
    for event in (RunStarted({}, "full", ()), SeedFailed(0, "fit", "NaN", 20.0, 0.5)):
        journal.record(event)
        spend.see(event)
    recalled = Spend()
    recalled.recall(journal.cost_rows())
    assert spend.gpu_seconds == recalled.gpu_seconds == 10
    assert spend.evaluations() == 0
