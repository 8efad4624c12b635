"""The evaluation of one candidate: its inputs, the checks of its results, and the score.

Stages, each in a fresh process: `smoke` (build, one step, layout of the weights), `fit` (training images and labels -> weights),
`predict` (weights and unlabelled images -> logits) of all images, and again of each half of them. The labels of validation and
test stay on the trusted side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.data import Dataset, Secret
from sandbox.sandbox import CallLimits, Report, Sandbox
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed
from sandbox.tasks.common.progress import Watcher
from sandbox.tasks.common.stages import SMOKE_RESULT, SMOKE_SECONDS, Smoke, Stages, rough, weights_limit
from sandbox.tasks.common.weights import BadWeights, StateLayout, canonical
from sandbox.tasks.image_classification.grant import StartCosts, check_seconds, check_steps, expected_seconds
from sandbox.tasks.image_classification.judging import INSIDE, Judge
from sandbox.tasks.image_classification.mistakes import mistakes
from sandbox.tasks.image_classification.settings import ImageSettings

MAX_EPOCHS = 100_000
"""Largest number of rows of a curve, if the number of epochs is not configured."""
MAX_FLOPS = 1e18


class ImageEvaluation:
    """Takes one job through the stages."""

    def __init__(
        self,
        settings: ImageSettings,
        data: Dataset,
        secret: Secret,
        job: Job,
        sandbox: Sandbox,
        packages: tuple[Path, ...],
        starts: StartCosts,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Raises StageFailed if the program is too long."""
        self._settings, self._data, self._job, self._sandbox = settings, data, job, sandbox
        self._progress = progress
        self._stages = Stages(job, sandbox, packages)
        self._judge = Judge(settings, data, secret, job, sandbox, self._stages, starts, self._options)

    def run(self) -> Measured:
        """Run all stages. Raises StageFailed if the candidate is at fault."""
        wanted = self._settings.wanted
        smoke, flops = self.smoke()
        trained, curve, weights = self._fit(smoke.layout)
        if self._settings.train_seconds:
            check_seconds(trained, self._settings.train_seconds, self._stages.seconds["smoke"], self._stages.device)
        accuracy, classes, predicted = self._judge.accuracy(weights, "validation", self._data.targets("validation"))
        self._check_steps(trained, smoke.parameters)
        self._judge.check_foreign(weights, accuracy)
        values = {"accuracy": accuracy, "parameters": float(smoke.parameters)}
        if flops is not None:
            values["flops"] = flops
        if "memory" in wanted:
            values["memory"] = rough(trained.peak_memory / 2**20)
        if "train_time" in wanted:
            values["train_time"] = rough(trained.seconds)
        if "latency" in wanted:
            with self._stages.alone():
                values["latency"] = rough(1000 * self._judge.latency(weights, classes, predicted))
        return self._stages.measured(
            values,
            test_values=self._test_values(values, weights) if self._job.test_too else None,
            curve=curve,
            parameters_by_block=smoke.parameters_by_block,
            calls_by_block=smoke.calls_by_block,
            parameters_by_part=smoke.layout.parts(),
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
        smoke = Smoke.read(report, self._job.sources, s.bounds.get("parameters"))
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

    def _check_steps(self, trained: Report, parameters: int) -> None:
        """Raise StageFailed if the training did more than its steps. On a GPU processor time says nothing of its work."""
        s, d = self._settings, self._data
        steps = s.all_steps(d)
        if not steps or self._stages.device != "cpu":
            return
        each = max(0.0, self._stages.cpu_seconds["predict"] - 3 * self._judge.start_seconds()) / (2 * d.sizes["validation"])
        check_steps(trained, expected_seconds(steps * s.batch_size, steps, each, parameters), steps)

    def _test_values(self, values: Mapping[str, float], weights: bytes) -> dict[str, float]:
        """`values` with the accuracy on the test split. The only place that reads test labels; nothing else depends on them."""
        accuracy, *_ = self._judge.accuracy(weights, "test", self._data.sealed_targets())
        return {**values, "accuracy": accuracy}

    def _call(
        self, stage: Any, limits: CallLimits, inputs: Mapping[str, Path], watch: Watcher | None = None, **options: Any
    ) -> Report:
        return self._stages.run(stage, f"{INSIDE}:{stage}", limits, inputs, self._options(**options), watch)

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
