"""Measure the noise floor of a run: train the seed again with other training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from agent.core.errors import UserError
from agent.core.noise import Noise
from agent.core.objectives import Objective
from agent.journal.events import SeedRepeated
from agent.population.candidate import Failure, Individual
from agent.run.context import RunContext
from agent.run.evaluation import Evaluator


def measure(run: RunContext, seed: Individual, evaluator: Evaluator, objectives: Sequence[Objective]) -> Noise | None:
    """Measure the noise; return None if the configuration asks for no measurement.

    The seed is trained `noise.trainings` times, with the training seeds after the one of all candidates. Trainings of an
    earlier process of the run are not repeated. Raises UserError if such a training of the seed fails, Halted if the user
    stops the run meanwhile.
    """
    trainings, first = run.config.noise.trainings, run.config.run.training_seed
    if not trainings:
        return None

    def repeat(training_seed: int) -> SeedRepeated:
        if known := run.replay.repeats.get(training_seed):
            return known
        run.admission.before_evaluation(SeedRepeated.id_of(training_seed))
        timed = evaluator.timed(seed.candidate, seed.genome, training_seed=training_seed)
        match timed.outcome:
            case Failure(reason=reason):
                repeated = SeedRepeated(training_seed, None, reason, timed.seconds, timed.gpus)
            case Individual(fitness=fitness):
                repeated = SeedRepeated(training_seed, fitness, "", timed.seconds, timed.gpus)
        run.record(repeated)
        return repeated

    threads = ThreadPoolExecutor(len(evaluator.devices), thread_name_prefix="noise")
    try:
        repeats = list(threads.map(repeat, range(first + 1, first + 1 + trainings)))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # a run that must end at once does not wait for a training
    for repeated in repeats:
        if repeated.fitness is None:
            raise UserError(
                f"The seed trains with training seed {first} and fails with {repeated.training_seed}: "
                f"{repeated.reason} Repair it first, or leave the noise unmeasured with --set noise.trainings=0."
            )
    return Noise.of([seed.fitness, *(r.fitness for r in repeats if r.fitness)], objectives)
