"""The evaluation of one candidate: its inputs, the checks of its results, and the score.

Stages, each in a fresh process: `smoke` (build, one step, layout of the weights), `fit` (training images and labels -> weights),
`predict` (weights and unlabelled images -> logits) of all images, and again of each half of them. The labels of validation and
test stay on the trusted side.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Dataset, Split
from sandbox.launch import temporary
from sandbox.sandbox import Call, CallLimits, Report, Sandbox
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed
from sandbox.tasks.common.latency import EMPTY, empty_weights, enough_images, seconds_each
from sandbox.tasks.common.progress import Watcher
from sandbox.tasks.common.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough, weights_limit
from sandbox.tasks.common.weights import BadWeights, StateLayout, canonical
from sandbox.tasks.image_classification.mistakes import mistakes
from sandbox.tasks.image_classification.settings import ImageSettings

if TYPE_CHECKING:
    import numpy as np

PREDICT_SECONDS = 60.0
TOLERANCE = 0.01
"""Largest share of images whose class may depend on the other images of the call. Such images count as wrong."""
MAX_EPOCHS = 100_000
"""Largest number of rows of a curve, if the number of epochs is not configured."""
MAX_FLOPS = 1e18

_INSIDE = "sandbox.tasks.image_classification.inside"


class ImageEvaluation:
    """Takes one job through the stages."""

    def __init__(
        self,
        settings: ImageSettings,
        data: Dataset,
        job: Job,
        sandbox: Sandbox,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Raises StageFailed if the program is too long."""
        self._settings, self._data, self._job, self._sandbox = settings, data, job, sandbox
        self._progress = progress
        self._stages = Stages(job, sandbox)

    def run(self) -> Measured:
        """Run all stages. Raises StageFailed if the candidate is at fault."""
        wanted = self._settings.wanted
        smoke, flops = self.smoke()
        trained, curve, weights = self._fit(smoke.layout)
        accuracy, classes, predicted = self._accuracy(weights, "validation", self._data.targets("validation"))
        values = {"accuracy": accuracy, "parameters": float(smoke.layout.parameters)}
        if flops is not None:
            values["flops"] = flops
        if "memory" in wanted:
            values["memory"] = rough(trained.peak_memory / 2**20)
        if "train_time" in wanted:
            values["train_time"] = rough(trained.seconds)
        if "latency" in wanted:
            with self._stages.alone():
                values["latency"] = rough(1000 * self._latency(weights, classes, predicted))
        return self._stages.measured(
            values,
            test_values=self._test_values(values, weights) if self._job.test_too else None,
            curve=curve,
            parameters_by_block=smoke.parameters_by_block,
            calls_by_block=smoke.calls_by_block,
            mistakes=mistakes(self._data.targets("validation"), classes, self._data.class_names),
        )

    def smoke(self) -> tuple[Smoke, float | None]:
        """Return (what the model reports before it gets any data, its operations if they are wanted)."""
        s, counted = self._settings, "flops" in self._settings.wanted
        limits = CallLimits(min(SMOKE_SECONDS, s.seconds), s.memory, result=SMOKE_RESULT)
        try:
            report = self._call("smoke", limits, {}, flops=counted)
        except StageFailed as failed:
            raise self._explained(failed) from None
        smoke = Smoke.read(report, s.bounds.get("parameters"))
        if not counted:
            return smoke, None
        flops = _read_flops(report, smoke.layout)
        most = s.bounds.get("flops", math.inf)
        if flops > most:
            raise StageFailed("smoke", f"It needs {flops:,.0f} operations for an image; at most {most:,.0f} are allowed.")
        return smoke, flops

    def _explained(self, failed: StageFailed) -> StageFailed:
        """Return the same failure, with a hint about colours if the model was made for another number of channels."""
        reason, has = failed.failure.reason, self._data.channels
        match = re.search(r"to have (\d+) channels, but got (\d+) channels", reason)
        if not match or int(match[2]) != has or match[1] not in "13":
            return failed
        hint = f"{reason} The images have {has} channel{'s' * (has > 1)}; task.channels = {match[1]} shows them in {match[1]}."
        return StageFailed(failed.failure.stage, hint, failed.failure.log)

    def _fit(self, layout: StateLayout) -> tuple[Report, tuple[tuple[float, ...], ...], bytes]:
        """Run the training; return (report, curve, canonical weights)."""
        s, d = self._settings, self._data
        most = s.bounds.get("parameters")
        cap = weights_limit(most)
        inputs = {"images": d.images("train"), "labels": d.labels("train")}
        watcher = Watcher(self._progress, _guessing(d) if s.early_stop else None)
        try:
            report = self._call("fit", CallLimits(s.seconds, s.memory, result=cap), inputs, watcher)
        except StageFailed as failed:
            if watcher.given_up and failed.failure.reason.startswith("It was stopped"):
                raise StageFailed("fit", watcher.reason(), failed.failure.log) from None
            raise
        curve, weights = _read_fit(report, s.all_epochs(d) or MAX_EPOCHS)
        try:
            return report, curve, canonical(weights, layout)
        except BadWeights as error:
            raise StageFailed("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _test_values(self, values: Mapping[str, float], weights: bytes) -> dict[str, float]:
        """`values` with the accuracy on the test split. The only place that reads test labels; nothing else depends on them."""
        accuracy, *_ = self._accuracy(weights, "test", self._data.sealed_targets())
        return {**values, "accuracy": accuracy}

    def _accuracy(self, weights: bytes, split: Split, targets: np.ndarray) -> tuple[float, np.ndarray, float]:
        """(accuracy on the images of a split, classes (N,), seconds of the call with all images). `targets`: their labels.

        An image counts as right if it is classified correctly twice: among all images, and among half of them, in other
        batches. Classes are compared, since logits can be scaled until any difference looks small. The halves are the
        darker and the brighter images, sorted, so that statistics of a batch or of all images differ.
        """
        import numpy as np

        images, batch = self._images(split), self._settings.batch_size
        first, seconds = self._predict(images, weights, np.random.default_rng(1).permutation(len(images)), batch)
        second = np.empty_like(first)
        for half in np.array_split(images.reshape(len(images), -1).mean(1).argsort(kind="stable"), 2):
            second[half] = self._predict(images, weights, half, batch // 2 + 1)[0][half]
        _check_company(first, second)
        return float(((first == targets) & (second == targets)).mean()), first, seconds

    def _latency(self, weights: bytes, classes: np.ndarray, predicted: float) -> float:
        """Return the seconds for each image, in batches of the training's size."""
        import numpy as np

        images, batch = self._images("validation"), self._settings.batch_size

        def empty(given: np.ndarray) -> float:
            return self._timed(given, empty_weights(self._data.num_classes), batch, EMPTY).seconds

        mixed, rows = enough_images(images, (predicted - empty(np.asarray(images))) / len(images))

        def timed() -> float:
            found, seconds = self._predict(mixed, weights, np.arange(len(mixed)), batch)
            _check_company(found[rows], classes)
            return seconds

        return seconds_each(timed, lambda: empty(mixed), len(mixed))

    def _predict(self, images: np.ndarray, weights: bytes, rows: np.ndarray, batch_size: int) -> tuple[np.ndarray, float]:
        """Predict rows in the given order; return (classes (N,), -1 for rows that were not given; seconds of the call)."""
        import numpy as np

        report = self._timed(images[rows], weights, batch_size)
        shape = (len(rows), self._data.num_classes)
        if len(report.result) != 4 * math.prod(shape):
            raise StageFailed("predict", "Prediction did not return one logit for each image and class.", report.log)
        logits = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(logits).all():
            raise StageFailed("predict", "The trained model predicts NaN or infinite logits.", report.log)
        classes = np.full(len(images), -1)
        classes[rows] = logits.argmax(1)
        return classes, report.seconds

    def _timed(self, images: np.ndarray, weights: bytes, batch_size: int, instead: str | None = None) -> Report:
        """Run one call of `predict`, with the program `instead` in place of the candidate if it is given."""
        import numpy as np

        s = self._settings
        with tempfile.TemporaryDirectory(dir=temporary.folder()) as folder:
            inputs = {"images": Path(folder) / "images.npy", "weights": Path(folder) / "weights"}
            np.save(inputs["images"], images)
            inputs["weights"].write_bytes(weights)
            seconds = max(PREDICT_SECONDS, s.seconds / 2)
            limits = CallLimits(seconds, s.memory, result=4 * len(images) * self._data.num_classes)
            if instead is None:
                return self._call("predict", limits, inputs, batch_size=batch_size)
            options = self._options(batch_size=batch_size) | {"file": "model.py"}
            sources, device, threads = {"model.py": instead}, self._job.device, self._job.threads
            return self._sandbox.run(Call(f"{_INSIDE}:predict", sources, limits, inputs, options, device, threads))

    def _images(self, split: Split) -> np.ndarray:
        """uint8 (N, C, H, W) of a split, read lazily."""
        import numpy as np

        return np.asarray(np.load(self._data.images(split), mmap_mode="r"))

    def _call(
        self, stage: Any, limits: CallLimits, inputs: Mapping[str, Path], watch: Watcher | None = None, **options: Any
    ) -> Report:
        return self._stages.run(stage, f"{_INSIDE}:{stage}", limits, inputs, self._options(**options), watch)

    def _options(self, **options: Any) -> dict[str, Any]:
        s, d = self._settings, self._data
        return {
            "file": s.file,
            "model": s.model,
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
    """Raise StageFailed if classes of the same images differ between two calls with different other images."""
    changed = float((first != second).mean())
    if changed > TOLERANCE:
        raise StageFailed(
            "integrity",
            f"The predicted class of {changed:.1%} of the images changes with the other images of the batch or the "
            "call, or with their order: in eval mode every image must be judged by itself.",
        )


def _guessing(data: Dataset) -> float:
    """Return the accuracy of always predicting the largest class of the training images."""
    import numpy as np

    return float(np.bincount(data.targets("train")).max() / data.sizes["train"])


def _read_flops(report: Report, layout: StateLayout) -> float:
    """Return the operations that the candidate's process counted, but at least one for each parameter. Raises StageFailed."""
    found = re.findall(r"^flops (\d{1,19})$", report.result.decode("ascii", "replace"), re.MULTILINE)
    if not found or float(found[-1]) > MAX_FLOPS:
        raise StageFailed("smoke", "The operations of its forward pass cannot be counted.", report.log)
    return max(float(found[-1]), float(layout.parameters))


def _read_fit(report: Report, epochs: int) -> tuple[tuple[tuple[float, ...], ...], bytes]:
    """Return (curve, weights) from the fixed binary form of `inside.HEADER`. Raises StageFailed for anything else."""
    import numpy as np

    header, result = 12, report.result
    rows, columns = (int.from_bytes(result[4:8], "little"), int.from_bytes(result[8:12], "little"))
    size = 4 * rows * columns
    if result[:4] != b"GEf1" or columns != 2 or rows > epochs or len(result) < header + size:
        raise StageFailed("fit", "Training ended without returning its weights.", report.log)
    table = np.frombuffer(result[header : header + size], "<f4").reshape(rows, columns)
    curve = tuple(tuple(round(float(v), 5) for v in row) for row in np.nan_to_num(table, posinf=1e9, neginf=-1e9))
    return curve, result[header + size :]
