"""The noise floor of a run: the seed is trained again with other training seeds, and their spread is the unit of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from agent.core.errors import UserError
from agent.core.objectives import Noise, Objective
from agent.journal.events import Record, SeedRepeated
from agent.population.candidate import Failure, Individual
from agent.run.admission import Admission
from agent.run.evaluation import Evaluator


def measure(
    seed: Individual,
    evaluator: Evaluator,
    objectives: Sequence[Objective],
    trainings: int,
    training_seed: int,
    past: Mapping[int, SeedRepeated],
    record: Record,
    admission: Admission,
) -> Noise | None:
    """None if the noise is not to be measured; what an earlier process of the run measured is not repeated.

    `trainings`: how many, with the training seeds that follow on `training_seed`, with which all variants are trained.
    Raises UserError if the seed trains by luck only, Halted if the user stops the run meanwhile.
    """
    if not trainings:
        return None

    def repeat(number: int) -> SeedRepeated:
        if known := past.get(number):
            return known
        admission.to_evaluate(SeedRepeated.id_of(number))
        timed = evaluator.timed(seed.candidate, seed.genome, training_seed=number)
        match timed.outcome:
            case Failure(reason=reason):
                repeated = SeedRepeated(number, None, reason, timed.seconds, timed.gpus)
            case Individual(fitness=fitness):
                repeated = SeedRepeated(number, fitness, "", timed.seconds, timed.gpus)
        record(repeated)
        return repeated

    threads = ThreadPoolExecutor(len(evaluator.devices), thread_name_prefix="noise")
    try:
        repeats = list(threads.map(repeat, range(training_seed + 1, training_seed + 1 + trainings)))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # who stops at once does not wait for a training
    for repeated in repeats:
        if repeated.fitness is None:
            raise UserError(
                f"The seed trains with training seed {training_seed} and fails with {repeated.training_seed}: "
                f"{repeated.reason} Mend it first, or leave the noise unmeasured with --set noise.trainings=0."
            )
    return Noise.of([seed.fitness, *(r.fitness for r in repeats if r.fitness)], objectives)


def unknown(seed: Individual, objectives: Sequence[Objective]) -> Noise:
    """Where the noise was not measured, every change counts as one."""
    return Noise({o.name: 0.0 for o in objectives}, {o.name: seed.fitness[o.name] for o in objectives})
