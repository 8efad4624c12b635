"""The trusted side of a seed's own task: the inputs of a candidate, the checks of its results, and the score.

Stages, each in a fresh process: `smoke` (one step of `fit` on stand-in data, layout of the weights), `fit`, and `predict` of
each part of the split as a whole and again of each half of it. The targets of validation and test stay on the trusted side.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Split
from sandbox.launch import temporary
from sandbox.sandbox import CallLimits, Report, Sandbox, TaskError
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed, StageFailure
from sandbox.tasks.common.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough, weights_limit
from sandbox.tasks.common.task import Task, TaskTables
from sandbox.tasks.common.weights import BadWeights, StateLayout, canonical
from sandbox.tasks.own.facts import facts
from sandbox.tasks.own.settings import OwnTaskSettings
from sandbox.tasks.own.splits import Part, Splits
from sandbox.tasks.own.task_file import TaskFile

if TYPE_CHECKING:
    import numpy as np

MAX_PREDICTIONS = 256 << 20
"""Largest size in bytes of the predictions for one part."""
PREDICT_SECONDS = 60.0
CHANGED = 0.01
"""A prediction has changed if it differs by this share of its spread over the rows."""
TOLERANCE = 0.01
"""Largest share of rows whose prediction may depend on the other rows of the call. The worse score counts."""
MEASURED: Mapping[str, str] = {"parameters": "min", "memory": "min", "train_time": "min"}
"""The quantities measured outside for every task: a count, MiB, and seconds of the training, the last two to two digits."""

_INSIDE = "sandbox.tasks.own.inside"


class OwnTask(Task):
    """The task that a seed's `task.py` describes."""

    has_test_split = True

    @classmethod
    def open(cls, tables: TaskTables) -> OwnTask:
        """Raises TaskError."""
        return cls(tables.folder, tables.task["name"], OwnTaskSettings.read(tables), tables.cache)

    def __init__(self, folder: Path, name: str, settings: OwnTaskSettings, cache: Path) -> None:
        """Open the task: call `data()` of the seed's task file, and write the arrays that enter sandboxes into `cache`.

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
        self.title = self.file.title
        self.directions = {**self.file.objectives, "parameters": "min"}
        self.objectives = (*self.file.objectives, *MEASURED)
        self.entry_points = self.file.entry_points
        self.provenance = {f"seed/{name}": self.file.text, f"data of {name}": self.splits.digest}
        self.test_note = f"the test part of data() in {name}, {sum(p.rows for p in self.splits.parts['test']):,} rows"
        self._facts = facts(self.file, self.splits, settings)
        self._fit_files, self._smoke_files = self.splits.files(cache)
        self._scoring = threading.Lock()

    def facts(self) -> dict[str, str]:
        return self._facts

    def files_beside(self) -> Mapping[str, bytes]:
        """The task's own file, if it lies in the seed's folder."""
        path = self.file.path
        return {self._name: path.read_bytes()} if ".." not in Path(self._name).parts and path.is_file() else {}

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. Raises SandboxUnavailable if the machine is at fault. `progress` is never called."""
        try:
            return self._evaluate(job, Stages(job, sandbox))
        except StageFailed as failed:
            return failed.failure

    def _evaluate(self, job: Job, stages: Stages) -> Measured:
        smoke = self._smoke(job, stages)
        trained, weights = self._fit(job, stages, smoke.layout)
        values = {
            **self.score(self.splits.targets(), *self._predictions(job, stages, weights, "validation")),
            "parameters": float(smoke.layout.parameters),
            "memory": rough(trained.peak_memory / 2**20),
            "train_time": rough(trained.seconds),
        }
        return stages.measured(
            values,
            test_values=self._test_values(values, job, stages, weights) if job.test_too else None,
            parameters_by_block=smoke.parameters_by_block,
            calls_by_block=smoke.calls_by_block,
        )

    def _test_values(self, values: Mapping[str, float], job: Job, stages: Stages, weights: bytes) -> dict[str, float]:
        """`values` with the scores of the test split. The only place that scores against its targets."""
        return {**values, **self.score(self.splits.sealed_targets(), *self._predictions(job, stages, weights, "test"))}

    def _smoke(self, job: Job, stages: Stages) -> Smoke:
        """Return the model's own report, with the layout of its state, before it gets any data."""
        s = self.settings
        limits = CallLimits(min(SMOKE_SECONDS, s.seconds), s.memory, result=SMOKE_RESULT)
        report = stages.run("smoke", f"{_INSIDE}:smoke", limits, self._smoke_files, self._options(job, smoke=True))
        return Smoke.read(report, s.max_parameters)

    def _fit(self, job: Job, stages: Stages, layout: StateLayout) -> tuple[Report, bytes]:
        """Run the training; return (report, canonical weights)."""
        s = self.settings
        limits = CallLimits(s.seconds, s.memory, result=weights_limit(s.max_parameters))
        report = stages.run("fit", f"{_INSIDE}:fit", limits, self._fit_files, self._options(job))
        try:
            return report, canonical(report.result, layout)
        except BadWeights as error:
            raise StageFailed("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _predictions(self, job: Job, stages: Stages, weights: bytes, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of all rows of a split, twice: among all others of their part, and among half of them, in another order."""
        import numpy as np

        first, second = [], []
        for part in self.splits.parts[split]:
            whole = np.empty((part.rows, *self.file.output_shape), "<f4")
            halves = np.empty_like(whole)
            shuffled = np.random.default_rng(1).permutation(part.rows)
            whole[shuffled] = self._predict(job, stages, weights, part, shuffled)
            for rows in np.array_split(_sorted(part), 2):
                halves[rows] = self._predict(job, stages, weights, part, rows)
            first.append(whole)
            second.append(halves)
        return np.concatenate(first), np.concatenate(second)

    def _predict(self, job: Job, stages: Stages, weights: bytes, part: Part, rows: np.ndarray) -> np.ndarray:
        """Predict rows; return float32 (len(rows), *output_shape), in the order of `rows`."""
        import numpy as np

        s, shape = self.settings, (len(rows), *self.file.output_shape)
        with tempfile.TemporaryDirectory(dir=temporary.folder()) as folder:
            inputs = {"weights": Path(folder) / "weights"}
            inputs["weights"].write_bytes(weights)
            for number, (name, values) in enumerate(part.inputs.items()):
                inputs[f"inputs/{name}"] = Path(folder) / f"{number}.npy"
                np.save(inputs[f"inputs/{name}"], values[rows])
            limits = CallLimits(max(PREDICT_SECONDS, s.seconds / 2), s.memory, result=4 * math.prod(shape))
            report = stages.run("predict", f"{_INSIDE}:predict", limits, inputs, self._options(job))
        if len(report.result) != 4 * math.prod(shape):
            raise StageFailed("predict", f"Prediction did not return an array of {shape}.", report.log)
        values = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise StageFailed("predict", "The trained model predicts NaN or infinite values.", report.log)
        return values

    def score(self, targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        """The worse of both values for each objective. Raises StageFailed for rows that depend on the other rows of a call."""

        with self._scoring:  # the user's code need not be thread-safe
            first, second = self._normalised(first), self._normalised(second)
            changed = _changed(first, second)
            if changed > TOLERANCE:
                raise StageFailed(
                    "integrity",
                    f"The predictions for {changed:.1%} of the rows change with the other rows of the batch or the call, or "
                    "with their order: every row must be predicted by itself.",
                )
            scores = [self._scored(predictions, targets) for predictions in (first, second)]
        worse = {"max": min, "min": max}
        return {name: worse[way](score[name] for score in scores) for name, way in self.file.objectives.items()}

    def _normalised(self, predictions: np.ndarray) -> np.ndarray:
        import numpy as np

        if not hasattr(self.file.module, "normalised"):
            return predictions
        try:
            values = np.asarray(self.file.call("normalised", predictions))
        except TaskError as error:
            raise StageFailed("score", str(error)) from None
        if values.shape[:1] != predictions.shape[:1] or not np.isfinite(values).all():
            raise StageFailed("score", f"normalised() of {self.file.path.name} must return one finite entry for each row.")
        return values

    def _scored(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Return one score. Raises StageFailed: usually the predictions are to blame; other mistakes show with the seed."""
        try:
            scores = self.file.call("score", predictions, targets)
        except TaskError as error:
            raise StageFailed("score", str(error)) from None
        name, wanted = self.file.path.name, sorted(self.file.objectives)
        if not isinstance(scores, dict) or sorted(map(str, scores)) != wanted:
            got = sorted(map(str, scores)) if isinstance(scores, dict) else type(scores).__name__
            raise StageFailed("score", f"score() of {name} returned {got}, and its objectives are {wanted}.")
        values = {}
        for key, value in scores.items():
            try:
                values[key] = float(value)
            except (TypeError, ValueError):
                raise StageFailed("score", f"score() of {name} returned {value!r:.60} for {key}, which is no number.") from None
            if not math.isfinite(values[key]):
                raise StageFailed("score", f"score() of {name} returned {values[key]} for {key}, which must be finite.")
        return values

    def _options(self, job: Job, *, smoke: bool = False) -> dict[str, Any]:
        budget = dict(self.settings.budget)
        if smoke:
            budget |= {key: 1 for key in ("epochs", "steps") if key in budget}
        return {
            "task": [self.file.path.name, self.file.text],
            "file": self.settings.entry,
            "budget": {**budget, "seconds": self.settings.seconds},
            "output_shape": list(self.file.output_shape),
            "training_seed": job.training_seed,
        }


def _sorted(part: Part) -> np.ndarray:
    """Return the rows sorted by the mean of their first array, so that the two halves differ in every statistic."""
    import numpy as np

    values = next(iter(part.inputs.values()))
    if values.dtype.kind not in "iufb":
        return np.random.default_rng(2).permutation(part.rows)
    return np.asarray(values.reshape(part.rows, -1).astype("f8").mean(1).argsort(kind="stable"))


def _changed(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of rows that differ, relative to each output's spread over the rows: scale and offset do not matter."""
    import numpy as np

    a, b = (values.reshape(len(values), -1).astype("f8") for values in (first, second))
    spread = np.maximum(a.std(0), 0.01 * a.std())
    return float((np.abs(a - b) > CHANGED * spread + 1e-6 * np.abs(a)).any(1).mean())
