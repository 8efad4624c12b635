"""Image classification, the trusted side: what is handed in, what is believed of what comes out, and the score.

Stages, each a fresh child: `smoke` (build, one step, what the weights look like), `fit` (training images and labels ->
weights), `predict` (weights and unlabelled images -> logits) of all images, and again of each half of them. The labels
of validation and test stay here.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Dataset, load
from sandbox.job import Job, Measured, Progress, Stop, Stopped
from sandbox.sandbox import Call, Limits, Report, Sandbox
from sandbox.tasks import Task
from sandbox.tasks.image_facts import facts_of
from sandbox.tasks.image_settings import OBJECTIVES, Settings
from sandbox.tasks.latency import EMPTY, empty_weights, enough, seconds_each
from sandbox.tasks.progress import Watcher
from sandbox.tasks.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough
from sandbox.tasks.weights import BadWeights, Layout, canonical

if TYPE_CHECKING:
    import numpy as np

MAX_WEIGHTS = 512 << 20
"""Bytes, where no bound on parameters says less."""
PREDICT_SECONDS = 60.0
TOLERANCE = 0.01
"""Largest share of images whose class may change with the company they are predicted in. Those count as wrong."""
MAX_EPOCHS = 100_000
"""Rows of a curve that are read where no number of epochs was set."""
MAX_FLOPS = 1e18

_INSIDE = "sandbox.tasks.inside"


class ImageClassification(Task):
    """The task `image-classification`. Objectives: see `facts`."""

    objectives: tuple[str, ...] = OBJECTIVES

    def __init__(self, settings: Settings, cache: Path) -> None:
        """Decodes the data set into `cache` if it is not there yet. Raises TaskError."""
        self._settings = settings
        self._data = load(settings.request, cache)
        self.title = f"Classify images into {self._data.num_classes} classes."

    def evaluate(
        self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None
    ) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault. `progress` is called in this thread."""
        try:
            return _Evaluation(self._settings, self._data, job, sandbox, progress).run()
        except Stop as stop:
            return stop.stopped

    def facts(self) -> dict[str, str]:
        return facts_of(self._settings, self._data)


class _Evaluation:
    """One job on its way through the stages."""

    def __init__(
        self,
        settings: Settings,
        data: Dataset,
        job: Job,
        sandbox: Sandbox,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Raises Stop for a program that is too long."""
        self._settings, self._data, self._job, self._sandbox = settings, data, job, sandbox
        self._progress = progress
        self._stages = Stages(job, sandbox)

    def run(self) -> Measured:
        """Raises Stop for the candidate's fault."""
        wanted = self._settings.wanted
        smoke, flops = self._smoke()
        trained, curve, weights = self._fit(smoke.layout)
        accuracy, classes, predicted = self._accuracy(weights)
        values = {"accuracy": accuracy, "parameters": float(smoke.layout.parameters)}
        if flops is not None:
            values["flops"] = flops
        if "memory" in wanted:
            values["memory"] = rough(trained.peak_memory / 2**20)
        if "train_time" in wanted:
            values["train_time"] = rough(trained.seconds)
        if "latency" in wanted:
            values["latency"] = rough(1000 * self._latency(weights, classes, predicted))
        return self._stages.measured(
            values,
            curve=curve,
            parameters_by_block=smoke.parameters_by_block,
            sizes_by_block=smoke.sizes_by_block,
        )

    def _smoke(self) -> tuple[Smoke, float | None]:
        """What its state looks like, fixed before it sees any data, what it tells of itself, and its operations if wanted."""
        s, counted = self._settings, "flops" in self._settings.wanted
        limits = Limits(min(SMOKE_SECONDS, s.seconds), s.memory, result=SMOKE_RESULT)
        try:
            report = self._call("smoke", limits, {}, flops=counted)
        except Stop as stop:
            raise self._explained(stop) from None
        smoke = Smoke.read(report, s.bounds.get("parameters"))
        if not counted:
            return smoke, None
        flops = _read_flops(report, smoke.layout)
        if flops > s.bounds.get("flops", math.inf):
            raise Stop("smoke", f"It needs {flops:,.0f} operations for an image; at most {s.bounds['flops']:,.0f} are allowed.")
        return smoke, flops

    def _explained(self, stop: Stop) -> Stop:
        """With a word on colours, where a model was made for another number of channels."""
        reason, has = stop.stopped.reason, self._data.channels
        match = re.search(r"to have (\d+) channels, but got (\d+) channels", reason)
        if not match or int(match[2]) != has or match[1] not in "13":
            return stop
        told = f"{reason} The images have {has} channel{'s' * (has > 1)}; task.channels = {match[1]} shows them in {match[1]}."
        return Stop(stop.stopped.stage, told, stop.stopped.log)

    def _fit(self, layout: Layout) -> tuple[Report, tuple[tuple[float, ...], ...], bytes]:
        s, d = self._settings, self._data
        most = s.bounds.get("parameters")
        cap = MAX_WEIGHTS if most is None else min(MAX_WEIGHTS, int(16 * most) + (1 << 20))
        inputs = {"images": d.images("train"), "labels": d.labels("train")}
        watcher = Watcher(self._progress, _guessing(d) if s.early_stop else None)
        try:
            report = self._call("fit", Limits(s.seconds, s.memory, result=cap), inputs, watcher)
        except Stop as stop:
            if watcher.given_up and stop.stopped.reason.startswith("It was stopped"):
                raise Stop("fit", watcher.reason(), stop.stopped.log) from None
            raise
        curve, weights = _read_fit(report, s.all_epochs(d) or MAX_EPOCHS)
        try:
            return report, curve, canonical(weights, layout)
        except BadWeights as error:
            raise Stop("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _accuracy(self, weights: bytes) -> tuple[float, np.ndarray, float]:
        """Share of images that are right alone: among all others, and again in a half of them, in other batches.

        What counts is the class, since logits can be scaled until any difference between them looks small. The halves
        are the darker and the brighter images, sorted, so that statistics of a batch or of all images are others. Also:
        the classes (N,), and the seconds of the call with all images.
        """
        import numpy as np

        images, targets = self._images(), self._data.targets(self._job.split)
        batch = self._settings.batch_size
        first, seconds = self._predict(images, weights, np.random.default_rng(1).permutation(len(images)), batch)
        second = np.empty_like(first)
        for half in np.array_split(images.reshape(len(images), -1).mean(1).argsort(kind="stable"), 2):
            second[half] = self._predict(images, weights, half, batch // 2 + 1)[0][half]
        _check_company(first, second)
        return float(((first == targets) & (second == targets)).mean()), first, seconds

    def _latency(self, weights: bytes, classes: np.ndarray, predicted: float) -> float:
        """Seconds for each image, in batches as in training."""
        import numpy as np

        images, batch = self._images(), self._settings.batch_size

        def empty(given: np.ndarray) -> float:
            return self._timed(given, empty_weights(self._data.num_classes), batch, EMPTY).seconds

        mixed, rows = enough(images, (predicted - empty(np.asarray(images))) / len(images))

        def timed() -> float:
            found, seconds = self._predict(mixed, weights, np.arange(len(mixed)), batch)
            _check_company(found[rows], classes)
            return seconds

        return seconds_each(timed, lambda: empty(mixed), len(mixed))

    def _predict(
        self, images: np.ndarray, weights: bytes, rows: np.ndarray, batch_size: int
    ) -> tuple[np.ndarray, float]:
        """Classes (N,) of the given rows, asked for in their order, -1 for all others; and the seconds that it took."""
        import numpy as np

        report = self._timed(images[rows], weights, batch_size)
        shape = (len(rows), self._data.num_classes)
        if len(report.result) != 4 * math.prod(shape):
            raise Stop("predict", "Prediction did not return one logit for each image and class.", report.log)
        logits = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(logits).all():
            raise Stop("predict", "The trained model predicts NaN or infinite logits.", report.log)
        classes = np.full(len(images), -1)
        classes[rows] = logits.argmax(1)
        return classes, report.seconds

    def _timed(self, images: np.ndarray, weights: bytes, batch_size: int, instead: str | None = None) -> Report:
        """A call of `predict`; with the program `instead` in place of the candidate."""
        import numpy as np

        s = self._settings
        with tempfile.TemporaryDirectory(prefix="evolve-") as folder:
            inputs = {"images": Path(folder) / "images.npy", "weights": Path(folder) / "weights"}
            np.save(inputs["images"], images)
            inputs["weights"].write_bytes(weights)
            seconds = max(PREDICT_SECONDS, s.seconds / 2)
            limits = Limits(seconds, s.memory, result=4 * len(images) * self._data.num_classes)
            if instead is None:
                return self._call("predict", limits, inputs, batch_size=batch_size)
            options = self._options(batch_size=batch_size) | {"file": "model.py"}
            sources, device, threads = {"model.py": instead}, self._job.device, self._job.threads
            return self._sandbox.run(Call(f"{_INSIDE}:predict", sources, limits, inputs, options, device, threads))

    def _images(self) -> np.ndarray:
        """uint8 (N, C, H, W) of the split that measures, read as it is needed."""
        import numpy as np

        return np.asarray(np.load(self._data.images(self._job.split), mmap_mode="r"))

    def _call(
        self, stage: Any, limits: Limits, inputs: Mapping[str, Path], watch: Watcher | None = None, **options: Any
    ) -> Report:
        return self._stages.run(stage, f"{_INSIDE}:{stage}", limits, inputs, self._options(**options), watch)

    def _options(self, **options: Any) -> dict[str, Any]:
        s, d = self._settings, self._data
        return {
            "file": s.file,
            "num_classes": d.num_classes,
            "channels": d.channels,
            "height": d.height,
            "width": d.width,
            "mean": list(d.mean),
            "std": list(d.std),
            "input_size": s.input_size,
            "recipe": asdict(s.recipe),
            "steps": s.all_steps(d),
            "seconds": s.train_seconds,
            "batch_size": s.batch_size,
            "training_seed": self._job.training_seed,
            **options,
        }


def _check_company(first: np.ndarray, second: np.ndarray) -> None:
    """Classes of the same images in different company must agree. Raises Stop."""
    changed = float((first != second).mean())
    if changed > TOLERANCE:
        raise Stop(
            "integrity",
            f"The predicted class of {changed:.1%} of the images changes with the other images of the batch or the "
            "call, or with their order: in eval mode every image must be judged by itself.",
        )


def _guessing(data: Dataset) -> float:
    """Accuracy of always naming the largest class of the training images."""
    import numpy as np

    return float(np.bincount(data.targets("train")).max() / data.sizes["train"])


def _read_flops(report: Report, layout: Layout) -> float:
    """The candidate's process counts them: what it says is bounded below by one for each parameter."""
    found = re.findall(r"^flops (\d{1,19})$", report.result.decode("ascii", "replace"), re.MULTILINE)
    if not found or float(found[-1]) > MAX_FLOPS:
        raise Stop("smoke", "The operations of its forward pass cannot be counted.", report.log)
    return max(float(found[-1]), float(layout.parameters))


def _read_fit(report: Report, epochs: int) -> tuple[tuple[tuple[float, ...], ...], bytes]:
    """(curve, weights). Fixed binary form; anything else is the candidate's doing."""
    import numpy as np

    header, result = 12, report.result
    rows, columns = (int.from_bytes(result[4:8], "little"), int.from_bytes(result[8:12], "little"))
    size = 4 * rows * columns
    if result[:4] != b"GEf1" or columns != 2 or rows > epochs or len(result) < header + size:
        raise Stop("fit", "Training ended without returning its weights.", report.log)
    table = np.frombuffer(result[header : header + size], "<f4").reshape(rows, columns)
    curve = tuple(tuple(round(float(v), 5) for v in row) for row in np.nan_to_num(table, posinf=1e9, neginf=-1e9))
    return curve, result[header + size :]
