"""The first work of a run: train its seed, and train it again with other training seeds to measure the noise floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from agent.core.errors import Halted, MachineError, UserError
from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.genome import Genome
from agent.journal.events import SeedFailed, SeedRepeated, SeedTraining, Settled, Watch
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual
from agent.run.context import RunContext
from agent.run.evaluation import Evaluator, TimedOutcome

_T = TypeVar("_T")


class _AboutToTrain(Exception):
    """The seed has come as far as its training."""


def check(evaluator: Evaluator, genome: Genome, folder: str) -> None:
    """Take the seed, of this folder, through everything that an evaluation does before its training.

    Raises UserError if it fails there: nothing is spent, and no run has begun.
    """

    def stop() -> None:
        raise _AboutToTrain

    outcome: Individual | Failure | None = evaluator.check(Candidate(SEED_ID, 0), genome)
    try:
        outcome = outcome or evaluator.timed(Candidate(SEED_ID, 0), genome, admit=stop).outcome
    except _AboutToTrain:
        return
    if isinstance(outcome, Failure):
        raise UserError(f"The seed {folder} does not train (stage {outcome.stage}): {outcome.reason} Repair it first.")


@dataclass(frozen=True)
class SeedTrainings:
    """All trainings of a run's seed. Each is journaled when it ends, and a resume does not repeat it."""

    run: RunContext
    evaluator: Evaluator
    watch: Watch

    def train(self, genome: Genome) -> Individual:
        """The trained seed: from the journal, else it is trained now.

        Raises MachineError if it does not train, Halted if the run is stopped or its time is over before.
        """
        if known := self.run.replay.seed:
            self.run.record(Settled(known))  # a branch that the stop prevented is made up for
            return known
        self._show(0)

        def first(training_seed: int) -> Individual | Failure:
            timed = self._timed(SEED_ID, genome, training_seed)
            if isinstance(timed.outcome, Individual):
                self.run.record(Settled(timed.outcome, timed.seconds, timed.gpus))
            return timed.outcome

        (seed,) = self._at_once(first, [self.run.config.run.training_seed])
        if isinstance(seed, Failure):
            raise MachineError(f"The seed does not train (stage {seed.stage}): {seed.reason}")
        return seed

    def measure_noise(self, seed: Individual, objectives: Sequence[Objective]) -> Noise | None:
        """Measure the noise; return None if the configuration asks for no measurement.

        The seed is trained `noise.trainings` times, with the training seeds after the one of all candidates. Raises
        MachineError if such a training fails, Halted if the run is stopped meanwhile.
        """
        trainings, first = self.run.config.noise.trainings, self.run.config.run.training_seed
        if not trainings:
            return None
        seeds = range(first + 1, first + 1 + trainings)
        known = self.run.replay.repeats
        measured = {n: fitness for n in seeds if n in known and (fitness := known[n].fitness)}

        def repeat(training_seed: int) -> Individual | Failure:
            timed = self._timed(SeedRepeated.id_of(training_seed), seed.genome, training_seed)
            if isinstance(timed.outcome, Individual):
                self.run.record(SeedRepeated(training_seed, timed.outcome.fitness, "", timed.seconds, timed.gpus))
                measured[training_seed] = timed.outcome.fitness
                self._show(1 + len(measured))
            return timed.outcome

        left = [n for n in seeds if n not in measured]
        if left:
            self._show(1 + len(measured))
        for training_seed, outcome in zip(left, self._at_once(repeat, left), strict=True):
            if isinstance(outcome, Failure):
                raise MachineError(
                    f"The seed trains with training seed {first} and fails with {training_seed}: {outcome.reason} Repair it "
                    "and start another run, or go on without a measured noise: --set noise.trainings=0."
                )
        return Noise.of([seed.fitness, *(measured[n] for n in seeds)], objectives)

    def _timed(self, id: str, genome: Genome, training_seed: int) -> TimedOutcome:
        """One training, once it is admitted. A failure is journaled: its time counts, and a resume tries again."""
        admission = self.run.admission
        admission.before_evaluation(id)
        try:
            timed = self.evaluator.timed(Candidate(id, 0), genome, training_seed=training_seed)
        except MachineError:
            if admission.is_cut:  # the sandbox was closed to end it
                raise Halted from None
            raise
        match timed.outcome:
            case Failure(stage=stage, reason=reason):
                if admission.is_closed:  # perhaps it failed because it was ended
                    raise Halted
                self.run.record(SeedFailed(training_seed, stage, reason, timed.seconds, timed.gpus))
        return timed

    def _at_once(self, train: Callable[[int], _T], training_seeds: Iterable[int]) -> list[_T]:
        """The results of these trainings, of which each slot makes one at a time."""
        threads = ThreadPoolExecutor(len(self.evaluator.devices), thread_name_prefix="seed")
        try:
            return list(threads.map(train, training_seeds))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # a run that must end at once does not wait for a training

    def _show(self, made: int) -> None:
        self.watch(SeedTraining(made, 1 + self.run.config.noise.trainings))
