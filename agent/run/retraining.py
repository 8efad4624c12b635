"""Train an elite again with another training seed, and judge what that measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol

from agent.core.objectives import Constraint, Fitness
from agent.genome import Genome
from agent.journal.events import EliteRetrained
from agent.population.candidate import Individual
from agent.run.context import RunContext
from agent.run.training_seeds import training_seed_of
from sandbox.tasks.common.job import Measured, StageFailure


class Rules(Protocol):
    """What a reading is judged by."""

    constraints: tuple[Constraint, ...]
    exact: Collection[str]


class Timed(Protocol):
    """A `TimedResult`."""

    @property
    def result(self) -> Measured | StageFailure: ...

    @property
    def seconds(self) -> float: ...

    @property
    def gpus(self) -> float: ...


class Trainer(Rules, Protocol):
    """Trains programs: an `Evaluator`."""

    def retrain(self, id: str, genome: Genome, training_seed: int, *, test_too: bool, admit: Callable[[], None]) -> Timed: ...


def next_training_seed(run: RunContext, elite: Individual) -> int:
    """The second training of every program uses the same training seed, and so on, as the first ones do: they differ by their
    code and not by luck in the batches. For the elite itself the seed is fresh. In a null run each has its own ones."""
    return training_seed_of(elite.id, run.config.run, elite.trainings)


def retrain(run: RunContext, evaluator: Trainer, elite: Individual, training_seed: int) -> EliteRetrained:
    """One training, from its admission to its row in the journal. One that an earlier process made is not repeated.

    Raises Halted if it is not admitted, MachineError if the machine is at fault.
    """
    if known := run.replay.readings.get((elite.id, training_seed)):
        return known
    name = EliteRetrained.id_of(elite.id, training_seed)
    admit = partial(run.admission.before_evaluation, name)
    admit()
    timed = evaluator.retrain(name, elite.genome, training_seed, test_too=False, admit=admit)
    if isinstance(timed.result, StageFailure):
        fitness, reason = None, f"{timed.result.stage}: {timed.result.reason}"
    else:
        fitness, reason = judge(elite, timed.result.values, evaluator)
    reading = EliteRetrained(elite.id, training_seed, fitness, reason, timed.seconds, timed.gpus)
    run.record(reading)
    return reading


def judge(elite: Individual, values: Mapping[str, float], rules: Rules) -> tuple[Fitness | None, str]:
    """(the reading, why the elite may not lead): no reading if what depends on the program alone has another value now.

    Constraints on objectives hold for the mean of all readings, others for each reading.
    """
    fitness = Fitness({name: values[name] for name in elite.fitness.values})
    for name in rules.exact:
        if name in fitness.values and fitness[name] != elite.fitness[name]:
            return None, (
                f"score: {name} was {elite.fitness[name]:.10g} and is {fitness[name]:.10g} with another training seed: it must "
                "depend on the program alone."
            )
    others = Fitness({name: value for name, value in values.items() if name not in fitness.values})
    if broken := others.broken(rules.constraints):
        return None, f"score: trained again, it breaks a constraint: {_values(others, broken)}."
    again = elite.with_reading(fitness)
    if broken := again.fitness.broken(rules.constraints):
        return fitness, f"score: the mean of {again.trainings} trainings breaks a constraint: {_values(again.fitness, broken)}."
    return fitness, ""


def _values(fitness: Fitness, broken: Sequence[Constraint]) -> str:
    return ", ".join(f"{c.name} is {fitness[c.name]:g}, must be {c.relation} {c.bound:g}{c.note}" for c in broken)
