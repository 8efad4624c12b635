"""Variants -> sandbox -> individuals or failures, one training in each slot at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from agent.errors import MachineError
from agent.events import Memo, Record, Settled
from agent.fitness import Constraint, Fitness, Objective
from agent.gate import Gate
from agent.genome import Genome
from agent.individual import Birth, Evidence, Failure, Individual, Variant
from sandbox import SandboxUnavailable
from sandbox.pool.lanes import Lanes, Lease
from sandbox.tasks import Task
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailure

AHEAD = 2
"""Evaluations under way for each slot: while one trains, another gets as far as it can without the slot."""


@dataclass(frozen=True)
class Timed:
    """What became of one evaluation, and what it took."""

    outcome: Individual | Failure
    seconds: float
    """Wall time without that of waiting for others."""
    gpus: float
    """How many it held: a share of one where a GPU has several slots."""


class Bench:
    """Where genomes are measured, one training in each slot at a time."""

    def __init__(
        self,
        task: Task,
        lanes: Lanes,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        *,
        threads: int = 1,
        training_seed: int = 0,
        hear: Callable[[str, Progress], None] | None = None,
    ) -> None:
        """`threads`: CPU threads of one evaluation. All evaluations share the training seed.

        `hear`: gets what a training says of itself on the way, with the id of its child, in that evaluation's thread.
        """
        self.devices = lanes.slots.devices
        """That of each slot."""
        self._task, self._lanes = task, lanes
        self._objectives, self._constraints = tuple(objectives), tuple(constraints)
        self._threads, self._training_seed, self._hear = threads, training_seed, hear

    def measure(self, birth: Birth, genome: Genome, *, training_seed: int | None = None) -> Individual | Failure:
        """Waits for a free slot, trains and scores. Raises MachineError if the sandbox is at fault.

        `training_seed`: None for the one that all variants share.
        """
        return self.timed(birth, genome, training_seed=training_seed).outcome

    def timed(
        self,
        birth: Birth,
        genome: Genome,
        *,
        training_seed: int | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> Timed:
        """As `measure`. `admit` is asked when the training has a slot; what it raises comes through."""
        seed = self._training_seed if training_seed is None else training_seed
        job = Job(dict(genome.files), seed, threads=self._threads)
        lease = self._lanes.lease(admit)
        began = time.monotonic()
        try:
            result = self._task.evaluate(job, lease, self._progress_of(birth.id))
        except SandboxUnavailable as error:
            raise MachineError(f"The sandbox cannot run: {error}") from error
        except OSError as error:  # no room for what is handed in, no descriptor left, data that has gone
            raise MachineError(f"An evaluation cannot be made: {error}") from error
        seconds = time.monotonic() - began - lease.waited
        return Timed(self._judge(birth, genome, result, lease), seconds, self.gpus(lease.device))

    def gpus(self, device: str) -> float:
        """How many GPUs an evaluation on this device holds: a share of one that has several slots."""
        return self._lanes.slots.gpus(device)

    def close(self) -> None:
        """Ends what is running, and every sandbox."""
        self._lanes.close()

    def _progress_of(self, id: str) -> Callable[[Progress], None]:
        def progress(told: Progress) -> None:
            if self._hear:
                self._hear(id, told)

        return progress

    def _judge(self, birth: Birth, genome: Genome, result: Measured | StageFailure, lease: Lease) -> Individual | Failure:
        if isinstance(result, StageFailure):
            return Failure(birth, result.stage, result.reason, result.log, genome)
        fitness = Fitness({o.name: result.values[o.name] for o in self._objectives})
        broken = Fitness(result.values).broken(self._constraints)
        if broken:
            told = ", ".join(f"{c.name} is {result.values[c.name]:g}, must be {c.relation} {c.bound:g}" for c in broken)
            return Failure(birth, "score", f"It trained, but breaks a constraint: {told}.", "", genome)
        evidence = Evidence(
            seconds=result.seconds,
            peak_memory=result.peak_memory,
            curve=result.curve,
            parameters_by_block=result.parameters_by_block,
            sizes_by_block=result.sizes_by_block,
            isolation=result.level,
            layers=result.layers,
            device=lease.device,
            waited=lease.waited,
        )
        return Individual(birth, genome, fitness, evidence)


class Mending(Protocol):
    def mend(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Another program in the place of one that failed; a failure if it cannot be had, None if none is to be had."""
        ...


class Evaluation:
    """The pool over a bench: what an earlier process settled is not measured again, what is new is journaled.

    More variants are under way than there are slots: the next one has passed its smoke stage and waits when a slot gets free,
    and what comes after a training, or while a model is asked to mend a program, holds up no other.
    """

    def __init__(self, bench: Bench, record: Record, memo: Memo, gate: Gate, mending: Mending | None = None) -> None:
        """`mending`: whom a variant that fails the smoke stage is sent back to."""
        self._bench, self._record, self._memo, self._gate, self._mending = bench, record, memo, gate, mending
        at_once = AHEAD * len(bench.devices) + 1
        self._room = threading.BoundedSemaphore(at_once)
        self._threads = ThreadPoolExecutor(2 * at_once, thread_name_prefix="evaluation")

    def submit(self, variant: Variant) -> Future[Individual | Failure]:
        """The future raises MachineError if the machine is at fault, Halted if the gate was shut before it trained."""
        return self._threads.submit(self._settle, variant, time.monotonic())

    def close(self) -> None:
        """Starts nothing new."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _settle(self, variant: Variant, ready: float) -> Individual | Failure:
        if known := self._memo.outcomes.get(variant.id):
            return known
        timed = self._measured(variant, ready)
        self._record(Settled(timed.outcome, timed.seconds, timed.gpus))
        return timed.outcome

    def _measured(self, variant: Variant, ready: float) -> Timed:
        """`ready`: since when it could have been measured, by the monotonic clock."""

        def admit() -> None:
            self._gate.to_evaluate(variant.id)

        seconds = 0.0
        while True:
            with self._room:
                admit()
                waited = time.monotonic() - ready
                timed = self._bench.timed(variant.birth, variant.genome, admit=admit)
            seconds += timed.seconds
            outcome = replace(timed.outcome, intention=variant.intention, changed=variant.changed)
            if isinstance(outcome, Individual):
                evidence = replace(outcome.evidence, waited=outcome.evidence.waited + waited)
                return Timed(replace(outcome, evidence=evidence), seconds, timed.gpus)
            mended = self._mending.mend(variant, outcome) if self._mending else None
            if mended is None:
                return Timed(outcome, seconds, timed.gpus)
            if isinstance(mended, Failure):
                return Timed(replace(mended, intention=variant.intention, changed=variant.changed), seconds, timed.gpus)
            variant, ready = mended, time.monotonic()
