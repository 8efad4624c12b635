"""Evaluate variants in the sandbox: the results are individuals or failures. Each slot trains one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from agent.core.errors import MachineError
from agent.core.objectives import Constraint, Fitness, Objective
from agent.core.sane import out_of_range
from agent.core.text import clean
from agent.genome import Genome
from agent.journal.events import EliteRetrained, Settled
from agent.population.candidate import Candidate, Duplicate, Evidence, Failure, Individual, Outcome, Variant
from agent.run.context import RunContext
from agent.run.retraining import retrain
from agent.run.search_state import Owner
from agent.run.training_seeds import training_seed_of
from sandbox import SandboxUnavailable
from sandbox.pool.lanes import Lanes, Lease
from sandbox.tasks import Task
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailure

AHEAD = 2
"""Evaluations under way for each slot: while one trains, another gets as far as it can without the slot."""


@dataclass(frozen=True)
class TimedOutcome:
    """The result of one evaluation, its time and its GPUs."""

    outcome: Individual | Failure
    seconds: float
    """Wall time without waiting for a slot."""
    gpus: float
    """How many GPUs it held: a fraction if a GPU has several slots."""


@dataclass(frozen=True)
class TimedResult:
    """What one training of a program measured, whatever the run's constraints say of it, and what it took."""

    result: Measured | StageFailure
    seconds: float
    """Wall time without that of waiting for others."""
    gpus: float
    """As in `TimedOutcome`."""


@dataclass(frozen=True)
class EvaluatorSettings:
    """Settings that are the same in every evaluation of a run."""

    objectives: Sequence[Objective]
    constraints: Sequence[Constraint] = ()
    threads: int = 1
    """CPU threads of one evaluation."""
    training_seed: int = 0
    """All candidates are trained with it, so that they differ by their code and not by luck in the batches."""
    seed_size: int = 0
    """As in `Job`."""


class Evaluator:
    """Trains genomes in the sandbox and scores them, one training in each slot at a time."""

    def __init__(
        self,
        task: Task,
        lanes: Lanes,
        settings: EvaluatorSettings,
        report: Callable[[str, Progress], None] = lambda id, progress: None,
    ) -> None:
        """`report`: called in the evaluation's thread with a candidate's id and the progress that its training prints."""
        self.devices = lanes.slots.devices
        """The device of each slot."""
        self.constraints = tuple(settings.constraints)
        """What a fitness must keep."""
        self.exact = task.exact
        """Objectives that depend on the program alone, so that all its trainings must agree."""
        self._task, self._lanes, self._settings, self._report = task, lanes, settings, report
        self._seed: Mapping[str, float] = {}

    def expect(self, seed: Fitness) -> None:
        """From now on values must lie in a sane range of the seed's: see `core.sane`."""
        self._seed = seed.values

    def require(self, constraints: Sequence[Constraint]) -> None:
        """More constraints, from now on."""
        self.constraints = (*self.constraints, *constraints)

    def measure(self, candidate: Candidate, genome: Genome) -> Individual | Failure:
        """Wait for a free slot, train and score. Raises MachineError if the sandbox is at fault."""
        return self.timed(candidate, genome).outcome

    def timed(
        self,
        candidate: Candidate,
        genome: Genome,
        *,
        training_seed: int | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> TimedOutcome:
        """As `measure`, with another training seed if one is given.

        `admit` is called when the training has a slot; its exceptions are passed on.
        """
        seed = self._settings.training_seed if training_seed is None else training_seed
        job = self._job(genome, seed, timed=self._is_timed)
        lease = self._lanes.lease(admit)
        timed = self._evaluate(job, lease, candidate.id)
        return TimedOutcome(self._judge(candidate, genome, timed.result, lease), timed.seconds, timed.gpus)

    def retrain(self, id: str, genome: Genome, training_seed: int, *, test_too: bool, admit: Callable[[], None]) -> TimedResult:
        """One more training of a program. `id`: under which its progress is reported; `admit`: as in `timed`.

        `test_too`: reads the labels of the test split, so its opening must be journaled when `admit` returns.
        Raises MachineError if the sandbox is at fault.
        """
        job = self._job(genome, training_seed, timed=self._is_timed, test_too=test_too)
        return self._evaluate(job, self._lanes.lease(admit), id)

    def check(self, candidate: Candidate, genome: Genome) -> Failure | None:
        """What is wrong with the seed, as far as its task can see without training it. Raises MachineError."""
        job = self._job(genome, self._settings.training_seed)
        with _sandbox_errors():
            found = self._task.check(job, self._lanes.lease())
        return Failure(candidate, found.stage, found.reason, found.log, genome) if found else None

    def _job(self, genome: Genome, training_seed: int, *, timed: bool = False, test_too: bool = False) -> Job:
        s = self._settings
        return Job(dict(genome.files), training_seed, threads=s.threads, seed_size=s.seed_size, timed=timed, test_too=test_too)

    @property
    def _is_timed(self) -> bool:
        objectives = {one.name for one in self._settings.objectives}
        return "train_time" in objectives | {one.name for one in self.constraints}

    def _evaluate(self, job: Job, lease: Lease, id: str) -> TimedResult:
        started = time.monotonic()
        with _sandbox_errors():
            result = self._task.evaluate(job, lease, partial(self._report, id))
        seconds = time.monotonic() - started - lease.waited
        return TimedResult(self._in_range(result), seconds, self.gpus(lease.device))

    def _in_range(self, result: Measured | StageFailure) -> Measured | StageFailure:
        """The result, a failure at `score` in place of a value that nothing can be computed of."""
        if isinstance(result, StageFailure):
            return result
        strange = out_of_range(result.values, self._seed) or out_of_range(result.test_values or {}, self._seed)
        return StageFailure("score", f"It trained, but {strange}") if strange else result

    def gpus(self, device: str) -> float:
        """How many GPUs an evaluation on this device holds: a fraction if the GPU has several slots."""
        return self._lanes.slots.gpus(device)

    def close(self) -> None:
        """End running evaluations and every sandbox."""
        self._lanes.close()

    def _judge(self, candidate: Candidate, genome: Genome, result: Measured | StageFailure, lease: Lease) -> Individual | Failure:
        if isinstance(result, StageFailure):
            return Failure(candidate, result.stage, result.reason, result.log, genome)
        fitness = Fitness({o.name: result.values[o.name] for o in self._settings.objectives})
        if broken := Fitness(result.values).broken(self.constraints):
            values = ", ".join(f"{c.name} is {result.values[c.name]:g}, must be {c.relation} {c.bound:g}{c.note}" for c in broken)
            return Failure(candidate, "score", f"It trained, but breaks a constraint: {values}.", "", genome)
        evidence = Evidence(
            seconds=result.seconds,
            peak_memory=result.peak_memory,
            curve=result.curve,
            parameters_by_block=result.parameters_by_block,
            calls_by_block=result.calls_by_block,
            parameters_by_part=result.parameters_by_part,
            mistakes=result.mistakes,
            printed=tuple(clean(line) for line in result.printed),
            isolation=result.level,
            layers=result.layers,
            device=lease.device,
            waited=lease.waited,
            load=result.load,
        )
        return Individual(candidate, genome, fitness, evidence)


@contextmanager
def _sandbox_errors() -> Iterator[None]:
    """Raise MachineError for what the sandbox raises."""
    try:
        yield
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
    except OSError as error:  # a full disk, no free file descriptor, a data set that was deleted
        raise MachineError(f"An evaluation cannot be made: {error}") from error


def floors_of(task: Task, seed: Fitness, objectives: Collection[str], constraints: Iterable[Constraint] = ()) -> list[Constraint]:
    """Values that a program reaches without having learned anything, such as always answering one class.

    A seed that does no better itself has no floor: its candidates may be no better at first. Neither has an objective for
    which the user has said how low it may be.
    """
    note = ", which is what always answering one class may reach"
    bounded = {one.name for one in constraints if one.relation in (">", ">=")}
    passed = {
        name: floor for name, floor in task.floors.items() if name in objectives and name not in bounded and seed[name] > floor
    }
    return [Constraint(name, ">", floor, note) for name, floor in passed.items()]


class Repairer(Protocol):
    """Repairs a variant that failed its smoke stage: a `BreedingPool`."""

    def repair(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Return the repaired variant, a failure if the new answer cannot be used, None if no attempt is left."""
        ...


class EvaluationPool:
    """Evaluates variants and journals the outcomes. What an earlier process settled is not measured again.

    More variants are under way than there are slots, so that one has passed its smoke stage and waits when a slot becomes
    free. Neither the stages after a training nor a repair by a model hold up other variants.
    """

    def __init__(self, run: RunContext, evaluator: Evaluator, repairer: Repairer | None = None) -> None:
        self._run, self._evaluator, self._repairer = run, evaluator, repairer
        at_once = AHEAD * len(evaluator.devices) + 1
        self._room = threading.BoundedSemaphore(at_once)
        self._threads = ThreadPoolExecutor(2 * at_once, thread_name_prefix="evaluation")

    def submit(self, variant: Variant, owner: Owner = lambda repaired: None) -> Future[Outcome]:
        """`owner` is asked about a program that was repaired: one that is known already is not trained.

        The future raises MachineError if the machine is at fault, Halted if the evaluation was not admitted."""
        return self._threads.submit(self._settle, variant, owner, time.monotonic())

    def retrain(self, elite: Individual, training_seed: int) -> Future[EliteRetrained]:
        """One more training of an elite, in its turn. The future raises as that of `submit` does."""
        return self._threads.submit(self._retrain, elite, training_seed)

    def close(self) -> None:
        """Start nothing new."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _retrain(self, elite: Individual, training_seed: int) -> EliteRetrained:
        with self._room:
            return retrain(self._run, self._evaluator, elite, training_seed)

    def _settle(self, variant: Variant, owner: Owner, ready: float) -> Outcome:
        if known := self._run.replay.outcomes.get(variant.id):
            return known
        outcome, seconds, gpus = self._measure(variant, owner, ready)
        self._run.record(Settled(outcome, seconds, gpus))
        return outcome

    def _measure(self, variant: Variant, owner: Owner, ready: float) -> tuple[Outcome, float, float]:
        """The outcome, its seconds and its GPUs.

        `ready`: since when the variant could have been measured, by the monotonic clock.
        """
        seconds = 0.0
        while True:
            with self._room:
                self._run.admission.before_evaluation(variant.id)
                waited = time.monotonic() - ready
                timed = self._evaluator.timed(
                    variant.candidate,
                    variant.genome,
                    training_seed=training_seed_of(variant.id, self._run.config.run),
                    admit=partial(self._run.admission.before_evaluation, variant.id),
                )
            seconds += timed.seconds
            outcome = replace(timed.outcome, intention=variant.intention, changed=variant.changed)
            if isinstance(outcome, Individual):
                evidence = replace(outcome.evidence, waited=outcome.evidence.waited + waited)
                return replace(outcome, evidence=evidence), seconds, timed.gpus
            repaired = self._repaired(variant, outcome, owner)
            if not isinstance(repaired, Variant):
                return repaired, seconds, timed.gpus
            variant, ready = repaired, time.monotonic()

    def _repaired(self, variant: Variant, failure: Failure, owner: Owner) -> Variant | Failure | Duplicate:
        """A program in place of the one that failed, else how its candidate ends. The same program again is sent back again."""
        answered = variant
        while self._repairer and (repaired := self._repairer.repair(answered, failure)):
            if isinstance(repaired, Failure):
                return replace(repaired, intention=variant.intention, changed=variant.changed)
            twin = owner(repaired)
            if twin != variant.id:
                return Duplicate(variant.candidate, twin) if twin else repaired
            answered = repaired
        return failure
