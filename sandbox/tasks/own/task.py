"""A seed's own task, the trusted side: what is handed in, what is believed of what comes out, and the score.

Stages, each a fresh child: `smoke` (one step of `fit` on stand-in data, what the weights look like), `fit`, and `predict`
of each part of the split as a whole and again of each half of it. The targets of validation and test stay here.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Split
from sandbox.job import Job, Measured, Progress, Stop, Stopped
from sandbox.sandbox import Limits, Report, Sandbox, TaskError
from sandbox.tasks import Task
from sandbox.tasks.own.facts import facts
from sandbox.tasks.own.source import TaskFile
from sandbox.tasks.own.splits import Part, Splits
from sandbox.tasks.settings import SIZES, UNITS, quantity, refuse_unknown
from sandbox.tasks.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough
from sandbox.tasks.weights import BadWeights, Layout, canonical

if TYPE_CHECKING:
    import numpy as np

MAX_WEIGHTS = 512 << 20
"""Bytes, where no bound on parameters says less."""
MAX_PREDICTIONS = 256 << 20
"""Bytes of the predictions for one part."""
PREDICT_SECONDS = 60.0
CHANGED = 0.01
"""A prediction has changed if it differs by this share of what it varies by over the rows."""
TOLERANCE = 0.01
"""Largest share of rows whose prediction may change with the company they are predicted in. The worse score counts."""
MEASURED: Mapping[str, str] = {"parameters": "min", "memory": "min", "train_time": "min"}
"""Counted and timed outside, whatever the task: a count, MiB and seconds of the training, both to two digits."""

_INSIDE = "sandbox.tasks.own.inside"


@dataclass(frozen=True)
class Settings:
    """What `[task]` and `[budget]` say, checked."""

    entry: str
    """The file of the seed that `task.py` gets as `module`."""
    seconds: float
    memory: int
    budget: Mapping[str, Any]
    """What `fit` gets: all of `[budget]` but its limits."""
    max_parameters: float | None

    @classmethod
    def read(
        cls, task: Mapping[str, Any], budget: Mapping[str, Any], max_parameters: float | None, files: tuple[str, ...]
    ) -> Settings:
        refuse_unknown("task", task, ("name", "entry"))
        entry = task.get("entry", files[0])
        if entry not in files:
            raise TaskError(f"task.entry: {entry} is not among the seed's files ({', '.join(files)}).")
        if task["name"] in files:
            raise TaskError(f"task.name: {task['name']} measures the seed's files and cannot be one of them.")
        own = {key: value for key, value in budget.items() if key not in ("time_limit", "memory")}
        for key, value in own.items():
            if not key.isidentifier() or not isinstance(value, bool | int | float | str):
                raise TaskError(f"budget.{key} = {value!r}: task.py gets numbers and texts under names.")
        seconds = quantity(budget, "time_limit", "120s", UNITS)
        return cls(entry, seconds, int(quantity(budget, "memory", "4GiB", SIZES)), own, max_parameters)


class OwnTask(Task):
    """The task that a seed's `task.py` describes."""

    @classmethod
    def open(
        cls,
        task: Mapping[str, Any],
        budget: Mapping[str, Any],
        max_parameters: float | None,
        files: tuple[str, ...],
        cache: Path,
        folder: Path,
    ) -> OwnTask:
        return cls(folder, task["name"], Settings.read(task, budget, max_parameters, files), cache)

    def __init__(self, folder: Path, name: str, settings: Settings, cache: Path) -> None:
        """Calls `data()` of the file of that name in the seed's folder, and writes what enters sandboxes into `cache`.

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
        self.settings = settings
        self.title = self.file.title
        self.directions = {**self.file.objectives, "parameters": "min"}
        self.objectives = (*self.file.objectives, *MEASURED)
        self.calls = self.file.calls
        self.basis = {f"seed/{name}": self.file.text, f"data of {name}": self.splits.digest}
        self._facts = facts(self.file, self.splits, settings)
        self._fit_files, self._smoke_files = self.splits.files(cache)
        self._scoring = threading.Lock()

    def facts(self) -> dict[str, str]:
        return self._facts

    def evaluate(
        self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None
    ) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault. Says nothing on the way."""
        try:
            return self._evaluate(job, Stages(job, sandbox))
        except Stop as stop:
            return stop.stopped

    def _evaluate(self, job: Job, stages: Stages) -> Measured:
        smoke = self._smoke(job, stages)
        trained, weights = self._fit(job, stages, smoke.layout)
        values = {
            **self.score(job.split, *self._predictions(job, stages, weights)),
            "parameters": float(smoke.layout.parameters),
            "memory": rough(trained.peak_memory / 2**20),
            "train_time": rough(trained.seconds),
        }
        return stages.measured(
            values, parameters_by_block=smoke.parameters_by_block, sizes_by_block=smoke.sizes_by_block
        )

    def _smoke(self, job: Job, stages: Stages) -> Smoke:
        """The layout of its state, fixed before it sees any data."""
        s = self.settings
        limits = Limits(min(SMOKE_SECONDS, s.seconds), s.memory, result=SMOKE_RESULT)
        report = stages.run("smoke", f"{_INSIDE}:smoke", limits, self._smoke_files, self._options(job, smoke=True))
        return Smoke.read(report, s.max_parameters)

    def _fit(self, job: Job, stages: Stages, layout: Layout) -> tuple[Report, bytes]:
        s = self.settings
        cap = MAX_WEIGHTS if s.max_parameters is None else min(MAX_WEIGHTS, int(16 * s.max_parameters) + (1 << 20))
        limits = Limits(s.seconds, s.memory, result=cap)
        report = stages.run("fit", f"{_INSIDE}:fit", limits, self._fit_files, self._options(job))
        try:
            return report, canonical(report.result, layout)
        except BadWeights as error:
            raise Stop("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _predictions(self, job: Job, stages: Stages, weights: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Of all rows, twice: among all others of their part, and among half of them, in another order."""
        import numpy as np

        first, second = [], []
        for part in self.splits.parts[job.split]:
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
        """float32 (len(rows), *output_shape), in the order of `rows`."""
        import numpy as np

        s, shape = self.settings, (len(rows), *self.file.output_shape)
        with tempfile.TemporaryDirectory(prefix="evolve-") as folder:
            inputs = {"weights": Path(folder) / "weights"}
            inputs["weights"].write_bytes(weights)
            for number, (name, values) in enumerate(part.inputs.items()):
                inputs[f"inputs/{name}"] = Path(folder) / f"{number}.npy"
                np.save(inputs[f"inputs/{name}"], values[rows])
            limits = Limits(max(PREDICT_SECONDS, s.seconds / 2), s.memory, result=4 * math.prod(shape))
            report = stages.run("predict", f"{_INSIDE}:predict", limits, inputs, self._options(job))
        if len(report.result) != 4 * math.prod(shape):
            raise Stop("predict", f"Prediction did not return an array of {shape}.", report.log)
        values = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise Stop("predict", "The trained model predicts NaN or infinite values.", report.log)
        return values

    def score(self, split: Split, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        """The worse of both values for each objective. Raises Stop for predictions that depend on their company."""
        import numpy as np

        targets = np.concatenate([part.targets for part in self.splits.parts[split]])
        with self._scoring:  # the user's code need not be safe from several threads
            first, second = self._normalised(first), self._normalised(second)
            changed = _changed(first, second)
            if changed > TOLERANCE:
                raise Stop(
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
            raise Stop("score", str(error)) from None
        if values.shape[:1] != predictions.shape[:1] or not np.isfinite(values).all():
            raise Stop("score", f"normalised() of {self.file.path.name} must return one finite entry for each row.")
        return values

    def _scored(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Raises Stop: most often the predictions are to blame, and the seed's own evaluation finds what is not."""
        try:
            told = self.file.call("score", predictions, targets)
        except TaskError as error:
            raise Stop("score", str(error)) from None
        name, wanted = self.file.path.name, sorted(self.file.objectives)
        if not isinstance(told, dict) or sorted(map(str, told)) != wanted:
            got = sorted(map(str, told)) if isinstance(told, dict) else type(told).__name__
            raise Stop("score", f"score() of {name} returned {got}, and its objectives are {wanted}.")
        values = {}
        for key, value in told.items():
            try:
                values[key] = float(value)
            except (TypeError, ValueError):
                raise Stop("score", f"score() of {name} returned {value!r:.60} for {key}, which is no number.") from None
            if not math.isfinite(values[key]):
                raise Stop("score", f"score() of {name} returned {values[key]} for {key}, which must be finite.")
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
    """The rows by the mean of their first array: the two halves then differ in every statistic."""
    import numpy as np

    values = next(iter(part.inputs.values()))
    if values.dtype.kind not in "iufb":
        return np.random.default_rng(2).permutation(part.rows)
    return np.asarray(values.reshape(part.rows, -1).astype("f8").mean(1).argsort(kind="stable"))


def _changed(first: np.ndarray, second: np.ndarray) -> float:
    """Share of rows that differ, measured by what each output varies by over the rows: scale and offset do not matter."""
    import numpy as np

    a, b = (values.reshape(len(values), -1).astype("f8") for values in (first, second))
    spread = np.maximum(a.std(0), 0.01 * a.std())
    return float((np.abs(a - b) > CHANGED * spread + 1e-6 * np.abs(a)).any(1).mean())
