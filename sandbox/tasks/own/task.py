"""The trusted side of a seed's own task: the inputs of a candidate, the checks of its results, and the score.

Stages, each in a fresh process: `smoke` (one step of `fit` on stand-in data, layout of the weights), `fit`, and `predict` of
each part of the split as a whole and again of each half of it. The targets of validation and test stay on the trusted side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.data.secret import KEY as SECRET
from sandbox.sandbox import Call, CallLimits, Report, Sandbox, TaskError
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed, StageFailure
from sandbox.tasks.common.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough, weights_limit
from sandbox.tasks.common.task import Task, TaskTables
from sandbox.tasks.common.weights import BadWeights, StateLayout, canonical
from sandbox.tasks.own.facts import facts
from sandbox.tasks.own.predictions import Predictions, Run
from sandbox.tasks.own.scoring import Scoring
from sandbox.tasks.own.settings import OwnTaskSettings
from sandbox.tasks.own.splits import Splits
from sandbox.tasks.own.task_file import TaskFile, judges_foreign_weights

MAX_PREDICTIONS = 256 << 20
"""Largest size in bytes of the predictions for one part."""
MEASURED: Mapping[str, str] = {"parameters": "min", "memory": "min", "train_time": "min"}
"""The quantities measured outside for every task: a count, MiB, and seconds of the training, the last two to two digits."""

_INSIDE = "sandbox.tasks.own.inside"


class OwnTask(Task):
    """The task that a seed's `task.py` describes."""

    has_test_split = True

    @classmethod
    def open(cls, tables: TaskTables) -> OwnTask:
        """Raises TaskError."""
        return cls(tables.folder, tables.task["name"], OwnTaskSettings.read(tables), tables)

    def __init__(self, folder: Path, name: str, settings: OwnTaskSettings, tables: TaskTables) -> None:
        """Open the task: call `data()` of the seed's task file, and write the arrays that enter sandboxes into the cache.

        Raises TaskError.
        """
        path = folder / name
        self.file = TaskFile.load(path)
        if clash := sorted(self.file.objectives.keys() & MEASURED.keys()):
            raise TaskError(f"{path}: {clash[0]} is measured in any case; give the objective another name.")
        example = self.file.call("example") if hasattr(self.file.module, "example") else None
        self.splits = Splits.read(self.file.call("data"), example, str(path))
        rows = max(part.rows for parts in self.splits.parts.values() for part in parts)
        if (size := 4 * rows * math.prod(self.file.output_shape)) > MAX_PREDICTIONS:
            raise TaskError(f"{path}: the predictions of one part take {size / 2**20:,.0f} MiB; give the split in smaller parts.")
        self._name, self.settings = Path(name).as_posix(), settings
        secret = tables.secret()
        self.pins = {SECRET: secret.text}
        self._packages = tables.packages({self._name: self.file.inside})
        self.title = self.file.title
        self.directions = {**self.file.objectives, "parameters": "min"}
        self.objectives = (*self.file.objectives, *MEASURED)
        self.entry_points = self.file.entry_points
        self.provenance = {f"seed/{name}": self.file.text, f"data of {name}": self.splits.digest}
        self.test_note = f"the test part of data() in {name}, {sum(p.rows for p in self.splits.parts['test']):,} rows"
        self._facts = facts(self.file, self.splits, settings)
        self._fit_files, self._smoke_files = self.splits.files(tables.cache)
        self.scoring = Scoring(self.file)
        self._predictions = Predictions(self.splits, self.file.output_shape, settings, secret)

    def facts(self) -> dict[str, str]:
        return self._facts

    def files_beside(self) -> Mapping[str, bytes]:
        """The task's own file, if it lies in the seed's folder."""
        path = self.file.path
        return {self._name: path.read_bytes()} if ".." not in Path(self._name).parts and path.is_file() else {}

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. Raises SandboxUnavailable if the machine is at fault. `progress` is never called."""
        try:
            return self._evaluate(job, Stages(job, sandbox, self._packages))
        except StageFailed as failed:
            return failed.failure

    def _evaluate(self, job: Job, stages: Stages) -> Measured:
        smoke = self._smoke(job, stages)
        trained, weights = self._fit(job, stages, smoke.layout)
        predict = self._predictor(job, stages)
        first, second = self._predictions.twice(predict, weights, "validation")
        scores = self.scoring.worse(self.splits.targets(), first, second)
        if judges_foreign_weights(self.file):
            self._predictions.check_foreign(predict, weights, first, self.scoring)
        values = {
            **scores,
            "parameters": float(smoke.parameters),
            "memory": rough(trained.peak_memory / 2**20),
            "train_time": rough(trained.seconds),
        }
        return stages.measured(
            values,
            test_values=self._test_values(values, predict, weights) if job.test_too else None,
            parameters_by_block=smoke.parameters_by_block,
            calls_by_block=smoke.calls_by_block,
            parameters_by_part=smoke.layout.parts(),
        )

    def _test_values(self, values: Mapping[str, float], predict: Run, weights: bytes) -> dict[str, float]:
        """`values` with the scores of the test split. The only place that scores against its targets."""
        return {**values, **self.scoring.worse(self.splits.sealed_targets(), *self._predictions.twice(predict, weights, "test"))}

    def _smoke(self, job: Job, stages: Stages) -> Smoke:
        """Return the model's own report, with the layout of its state, before it gets any data."""
        s = self.settings
        limits = CallLimits(min(SMOKE_SECONDS, s.seconds), s.memory, result=SMOKE_RESULT)
        report = stages.run("smoke", f"{_INSIDE}:smoke", limits, self._smoke_files, self._options(job, smoke=True))
        return Smoke.read(report, job.sources, s.max_parameters)

    def _fit(self, job: Job, stages: Stages, layout: StateLayout) -> tuple[Report, bytes]:
        """Run the training; return (report, canonical weights)."""
        s = self.settings
        limits = CallLimits(s.seconds, s.memory, result=weights_limit(s.max_parameters))
        report = stages.run("fit", f"{_INSIDE}:fit", limits, self._fit_files, self._options(job))
        try:
            return report, canonical(report.result, layout)
        except BadWeights as error:
            raise StageFailed("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _predictor(self, job: Job, stages: Stages) -> Run:
        return lambda limits, inputs: stages.run("predict", f"{_INSIDE}:predict", limits, inputs, self._options(job))

    def try_data(self, sandbox: Sandbox) -> Report:
        """Call `data()` of the whole file in the sandbox, for its author: the report lists the files that it has read."""
        limits = CallLimits(self.settings.seconds, self.settings.memory, result=1 << 20)
        options = {"task": [self.file.path.name, self.file.text]}
        return sandbox.run(Call(f"{_INSIDE}:try_data", {}, limits, readable=self._packages, options=options))

    def _options(self, job: Job, *, smoke: bool = False) -> dict[str, Any]:
        budget = dict(self.settings.budget)
        if smoke:
            budget |= {key: 1 for key in ("epochs", "steps") if key in budget}
        return {
            "task": [self.file.path.name, self.file.inside],
            "file": self.settings.entry,
            "budget": {**budget, "seconds": self.settings.seconds},
            "output_shape": list(self.file.output_shape),
            "training_seed": job.training_seed,
        }
