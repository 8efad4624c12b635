"""Variants -> sandbox -> individuals or failures, one in each slot at a time."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from agent.errors import MachineError
from agent.events import Memo, Record, Settled
from agent.fitness import Constraint, Fitness, Objective
from agent.gate import Gate
from agent.genome import Genome
from agent.individual import Birth, Evidence, Failure, Individual, Variant
from sandbox import Sandbox, SandboxUnavailable
from sandbox.job import Job, Measured, Stopped
from sandbox.tasks import Task


class Bench:
    """The slots: each holds one sandbox, opened when it is first needed. Measures one genome at a time in each."""

    def __init__(
        self,
        task: Task,
        open_sandbox: Callable[[], Sandbox],
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        *,
        slots: int,
        threads: int = 1,
        training_seed: int = 0,
    ) -> None:
        """`threads`: CPU threads of one evaluation. All evaluations share the training seed."""
        self.slots = slots
        self._task, self._open = task, open_sandbox
        self._objectives, self._constraints = tuple(objectives), tuple(constraints)
        self._threads, self._training_seed = threads, training_seed
        self._free: queue.SimpleQueue[Sandbox | None] = queue.SimpleQueue()
        for _ in range(slots):
            self._free.put(None)
        self._opened: list[Sandbox] = []

    def measure(self, birth: Birth, genome: Genome, *, training_seed: int | None = None) -> Individual | Failure:
        """Waits for a free slot, trains and scores. Raises MachineError if the sandbox is at fault.

        `training_seed`: None for the one that all variants share.
        """
        seed = self._training_seed if training_seed is None else training_seed
        job = Job(dict(genome.files), seed, threads=self._threads)
        sandbox = self._free.get()
        try:
            if sandbox is None:
                sandbox = self._open()
                self._opened.append(sandbox)
            result = self._evaluate(job, sandbox)
        except SandboxUnavailable as error:
            raise MachineError(f"The sandbox cannot run: {error}") from error
        finally:
            self._free.put(sandbox)
        return self._judge(birth, genome, result)

    def close(self) -> None:
        """Ends what is running, and every sandbox."""
        for sandbox in self._opened:
            sandbox.close()

    def _evaluate(self, job: Job, sandbox: Sandbox) -> Measured | Stopped:
        try:
            return self._task.evaluate(job, sandbox)
        except SandboxUnavailable:  # once more: a sandbox restarts itself; a second time it is the machine
            return self._task.evaluate(job, sandbox)

    def _judge(self, birth: Birth, genome: Genome, result: Measured | Stopped) -> Individual | Failure:
        if isinstance(result, Stopped):
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
        )
        return Individual(birth, genome, fitness, evidence)


class Mending(Protocol):
    def mend(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Another program in the place of one that failed; a failure if it cannot be had, None if none is to be had."""
        ...


class Evaluation:
    """The pool over a bench: what an earlier process settled is not measured again, what is new is journaled."""

    def __init__(self, bench: Bench, record: Record, memo: Memo, gate: Gate, mending: Mending | None = None) -> None:
        """`mending`: whom a variant that fails the smoke stage is sent back to."""
        self._bench, self._record, self._memo, self._gate, self._mending = bench, record, memo, gate, mending
        self._threads = ThreadPoolExecutor(bench.slots, thread_name_prefix="evaluation")

    def submit(self, variant: Variant) -> Future[Individual | Failure]:
        """The future raises MachineError if the machine is at fault, Halted if the gate is shut."""
        return self._threads.submit(self._settle, variant)

    def close(self) -> None:
        """Starts nothing new."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _settle(self, variant: Variant) -> Individual | Failure:
        if known := self._memo.outcomes.get(variant.id):
            return known
        self._gate.to_evaluate(variant.id)
        began = time.monotonic()
        outcome = self._measured(variant)
        self._record(Settled(outcome, time.monotonic() - began))
        return outcome

    def _measured(self, variant: Variant) -> Individual | Failure:
        while True:
            outcome = replace(self._bench.measure(variant.birth, variant.genome), intention=variant.intention)
            if isinstance(outcome, Individual) or self._mending is None:
                return outcome
            mended = self._mending.mend(variant, outcome)
            if mended is None:
                return outcome
            if isinstance(mended, Failure):
                return replace(mended, intention=variant.intention)
            variant = mended
