"""Image classification, the trusted side: what is handed in, what is believed of what comes out, and the score.

Stages, each a fresh child: `smoke` (build, one step, what the weights look like), `fit` (training images and labels ->
weights), `predict` (weights and unlabelled images -> logits) of all images, and again of each half of them. The labels
of validation and test stay here.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Dataset, load
from sandbox.job import Job, Measured, Stage, Stop, Stopped
from sandbox.sandbox import Call, Limits, Report, Sandbox, TaskError
from sandbox.tasks.weights import BadWeights, Layout, canonical

if TYPE_CHECKING:
    import numpy as np

MAX_CODE = 200_000
"""Characters of all sources together: what could be learned by heart is bounded."""
MAX_WEIGHTS = 512 << 20
"""Bytes, where no bound on parameters says less."""
SMOKE_SECONDS = 30.0
PREDICT_SECONDS = 60.0
TOLERANCE = 0.01
"""Largest share of images whose class may change with the company they are predicted in. Those count as wrong."""

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZES = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}
_INSIDE = "sandbox.tasks.inside"


@dataclass(frozen=True)
class Settings:
    """What `[task]` and `[budget]` say, checked."""

    dataset: str
    file: str
    epochs: int | None
    steps: int | None
    batch_size: int
    seconds: float
    """Wall time of one training."""
    memory: int
    max_parameters: float | None

    @classmethod
    def read(
        cls, task: Mapping[str, Any], budget: Mapping[str, Any], max_parameters: float | None, files: tuple[str, ...]
    ) -> Settings:
        for table, keys, known in (
            ("task", task, {"name", "dataset", "entry"}),
            ("budget", budget, {"epochs", "steps", "batch_size", "time_limit", "memory"}),
        ):
            if unknown := sorted(keys.keys() - known):
                raise TaskError(f"{table}: unknown key {unknown[0]}; known: {', '.join(sorted(known))}.")
        if "dataset" not in task:
            raise TaskError("task.dataset is missing: name a data set, such as digits.")
        if ("epochs" in budget) == ("steps" in budget):
            raise TaskError("budget: give either epochs or steps.")
        entry = task.get("entry", files[0])
        if entry not in files:
            raise TaskError(f"task.entry: {entry} is not among the seed's files ({', '.join(files)}).")
        return cls(
            dataset=task["dataset"],
            file=entry,
            epochs=_whole(budget, "epochs"),
            steps=_whole(budget, "steps"),
            batch_size=_whole(budget, "batch_size") or 64,
            seconds=_quantity(budget, "time_limit", "120s", _UNITS),
            memory=int(_quantity(budget, "memory", "4GiB", _SIZES)),
            max_parameters=max_parameters,
        )


class ImageClassification:
    """The task `image-classification`. Objectives: accuracy on validation images (0..1), parameters (a count)."""

    objectives: tuple[str, ...] = ("accuracy", "parameters")

    def __init__(self, settings: Settings, cache: Path) -> None:
        """Decodes the data set into `cache` if it is not there yet. Raises TaskError."""
        self._settings = settings
        self._data = load(settings.dataset, cache)
        d = self._data
        self.title = f"Classify images into {d.num_classes} classes."

    def evaluate(self, job: Job, sandbox: Sandbox) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault."""
        try:
            return _Evaluation(self._settings, self._data, job, sandbox).run()
        except Stop as stop:
            return stop.stopped

    def facts(self) -> dict[str, str]:
        s, d = self._settings, self._data
        steps, batches = _steps(s, d), f"shuffled batches of {s.batch_size}"
        if s.epochs:
            length = f"{s.epochs} epochs of {batches}, which is {steps} optimizer steps"
        else:
            epochs = steps * s.batch_size / d.sizes["train"]
            length = f"{steps} optimizer steps with {batches}, which is {epochs:.3g} epochs"
        per_class = [int((d.targets("train") == label).sum()) for label in range(d.num_classes)]
        return {
            "Data": (
                f"{d.about}; {d.sizes['train']:,} to train on, {min(per_class):,} to {max(per_class):,} of each class, "
                f"and {d.sizes['validation']:,} others (validation) to measure accuracy on."
            ),
            "Input": (
                f"float32 (N, {d.channels}, {d.height}, {d.width}): pixels scaled to 0..1, then normalised by the "
                f"training images' mean {_channels(d.mean)} and deviation {_channels(d.std)}."
            ),
            "Training": (
                f"from scratch, float32, {length}. Every program gets the same training seed. No early stopping: the "
                "weights after the last step count."
            ),
            "Optimizer": (
                "`build_optimizer(model, steps)` returns an optimizer or (optimizer, scheduler); `scheduler.step()` "
                "follows every optimizer step. Default: AdamW, lr 3e-3, weight decay 1e-2, one cycle."
            ),
            "Augmentation": (
                "`augment(images, generator)` turns each normalised training batch into one of the same shape. "
                "Default: none."
            ),
            "Loss": "`loss(logits, labels)`, in training only. Default: cross-entropy.",
            "May be overridden": (
                "these three, which replace their defaults if the program defines them (a rewrite may bring one along "
                "as a helper), and `build_model(num_classes, in_channels)`. Fixed: data, splits, normalisation, batch "
                "size, number of steps."
            ),
            "Limits": (
                f"{s.seconds:g} s and {s.memory / 2**30:.3g} GiB for one training on the CPU; torch and the standard "
                "library only; no files, no network, no processes."
            ),
            "Stages": (
                "smoke builds the model, fixes the names and shapes of its state and takes one step on noise; fit trains; "
                "predict runs with the images in several orders and batches: an image must be judged by itself, whatever "
                "else is in its batch."
            ),
            "Score": (
                "accuracy is the share of validation images whose largest logit is the right class, in eval mode; one "
                f"image is {1 / d.sizes['validation']:.2g}, and a difference of a few may be chance. parameters counts "
                "all elements of the saved state, buffers too; only the running statistics of affine BatchNorm layers, "
                "which are folded into weight and bias, are not counted."
            ),
        }


class _Evaluation:
    """One job on its way through the stages; keeps what was measured on the way."""

    def __init__(self, settings: Settings, data: Dataset, job: Job, sandbox: Sandbox) -> None:
        self._settings, self._data, self._job, self._sandbox = settings, data, job, sandbox
        self._seconds: dict[str, float] = {}
        self._sizes: dict[str, tuple[str, ...]] = {}
        self._peak_memory = 0
        self._layers: tuple[str, ...] = ()

    def run(self) -> Measured:
        """Raises Stop for the candidate's fault."""
        size = sum(map(len, self._job.sources.values()))
        if size > MAX_CODE:
            raise Stop("smoke", f"The program has {size:,} characters; {MAX_CODE:,} is the limit.")
        layout, shares = self._smoke()
        curve, weights = self._fit(layout)
        accuracy = self._accuracy(weights)
        return Measured(
            values={"accuracy": accuracy, "parameters": float(layout.parameters)},
            seconds=self._seconds,
            peak_memory=self._peak_memory,
            level=self._sandbox.level,
            layers=self._layers,
            curve=curve,
            parameters_by_block=shares,
            sizes_by_block=self._sizes,
        )

    def _smoke(self) -> tuple[Layout, dict[str, int]]:
        """The layout of its state, fixed before it sees any data, and parameters by block, as the candidate tells them."""
        limits = Limits(min(SMOKE_SECONDS, self._settings.seconds), self._settings.memory, result=1 << 20)
        report = self._call("smoke", limits, {})
        self._sizes = _read_sizes(report.result)
        lines = report.result.decode("utf-8", "replace").split("\n")
        matches = (re.fullmatch(r"class (\d{1,15}) ([A-Za-z_]\w{0,63})", line, re.ASCII) for line in lines)
        shares = {match[2]: int(match[1]) for match in matches if match}
        layout = Layout.read(lines)
        if not layout.tensors:
            raise Stop("smoke", "The program ended itself before its model was tried.", report.log)
        bound = self._settings.max_parameters
        if bound is not None and layout.parameters > bound:
            raise Stop("smoke", f"The model has {layout.parameters:,} parameters; at most {bound:,.0f} are allowed.")
        return layout, shares

    def _fit(self, layout: Layout) -> tuple[tuple[tuple[float, ...], ...], bytes]:
        s, d = self._settings, self._data
        cap = MAX_WEIGHTS if s.max_parameters is None else min(MAX_WEIGHTS, int(16 * s.max_parameters) + (1 << 20))
        inputs = {"images": d.images("train"), "labels": d.labels("train")}
        report = self._call("fit", Limits(s.seconds, s.memory, result=cap), inputs)
        curve, weights = _read_fit(report, _epochs(s, d))
        try:
            return curve, canonical(weights, layout)
        except BadWeights as error:
            raise Stop("fit", f"What training returned cannot be used: {error}.", report.log) from None

    def _accuracy(self, weights: bytes) -> float:
        """Share of images that are right alone: among all others, and again in a half of them, in other batches.

        What counts is the class, since logits can be scaled until any difference between them looks small. The halves
        are the darker and the brighter images, sorted, so that statistics of a batch or of all images are others.
        """
        import numpy as np

        images, targets = np.load(self._data.images(self._job.split)), self._data.targets(self._job.split)
        batch = self._settings.batch_size
        first = self._predict(images, weights, np.random.default_rng(1).permutation(len(images)), batch)
        second = np.empty_like(first)
        for half in np.array_split(images.reshape(len(images), -1).mean(1).argsort(kind="stable"), 2):
            second[half] = self._predict(images, weights, half, batch // 2 + 1)[half]
        changed = float((first != second).mean())
        if changed > TOLERANCE:
            raise Stop(
                "integrity",
                f"The predicted class of {changed:.1%} of the images changes with the other images of the batch or the "
                "call, or with their order: in eval mode every image must be judged by itself.",
            )
        return float(((first == targets) & (second == targets)).mean())

    def _predict(self, images: np.ndarray, weights: bytes, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Classes (N,) of the given rows, asked for in their order; -1 for all others."""
        import numpy as np

        shape = (len(rows), self._data.num_classes)
        with tempfile.TemporaryDirectory(prefix="evolve-") as folder:
            inputs = {"images": Path(folder) / "images.npy", "weights": Path(folder) / "weights"}
            np.save(inputs["images"], images[rows])
            inputs["weights"].write_bytes(weights)
            seconds = max(PREDICT_SECONDS, self._settings.seconds / 2)
            limits = Limits(seconds, self._settings.memory, result=4 * math.prod(shape))
            report = self._call("predict", limits, inputs, batch_size=batch_size)
        if len(report.result) != 4 * math.prod(shape):
            raise Stop("predict", "Prediction did not return one logit for each image and class.", report.log)
        logits = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(logits).all():
            raise Stop("predict", "The trained model predicts NaN or infinite logits.", report.log)
        classes = np.full(len(images), -1)
        classes[rows] = logits.argmax(1)
        return classes

    def _call(self, stage: Stage, limits: Limits, inputs: Mapping[str, Path], **options: Any) -> Report:
        s, d, job = self._settings, self._data, self._job
        call = Call(
            entry=f"{_INSIDE}:{stage}",
            sources=job.sources,
            limits=limits,
            inputs=inputs,
            options={
                "file": s.file,
                "num_classes": d.num_classes,
                "channels": d.channels,
                "height": d.height,
                "width": d.width,
                "mean": list(d.mean),
                "std": list(d.std),
                "steps": _steps(s, d),
                "batch_size": s.batch_size,
                "training_seed": job.training_seed,
                **options,
            },
            device=job.device,
            threads=job.threads,
            slot=stage == "fit",
        )
        report = self._sandbox.run(call)
        self._seconds[stage] = self._seconds.get(stage, 0.0) + report.seconds
        self._peak_memory = max(self._peak_memory, report.peak_memory)
        self._layers = report.layers
        if not report.ok:
            raise Stop(stage, explain(report, limits, tuple(job.sources)), report.log)
        return report


def explain(report: Report, limits: Limits, files: tuple[str, ...]) -> str:
    """Why a child did not end well, in a sentence fit for a prompt."""
    if report.cause == "timeout":
        return f"It ran longer than its limit of {limits.seconds:g} s."
    if report.cause == "memory":
        return f"It used more memory than its limit of {limits.memory / 2**30:.3g} GiB."
    if report.cause == "disk":
        return "It wrote more than its scratch folder may hold."
    if report.cause == "processes":
        return "It started processes, which is not allowed."
    if report.cause == "stopped":
        return "It was stopped before its end."
    if report.cause == "result":
        return "What it returned is larger than allowed: too many weights, or a forged result."
    if report.cause == "signal":
        return f"The process died of signal {-report.status}."
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', report.log)
    own = [frame for frame in frames if frame[0] in files]
    where = f" ({own[-1][0]}, line {own[-1][1]}, in {own[-1][2]})" if own else ""
    errors = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*$", report.log, re.MULTILINE)
    _, traceback, tail = report.log.rpartition("Traceback (most recent call last):\n")
    if traceback:  # an exception of any name stands in the first line that is not indented
        errors += re.findall(r"^\S.*$", tail, re.MULTILINE)[:1]
    if errors:
        return f"{errors[-1].strip()[:300]}{where}."
    return f"The process ended early with exit code {report.status}."


def _read_sizes(result: bytes) -> dict[str, tuple[str, ...]]:
    """What the candidate says that the instances of its blocks return for one image: lines of `size NAME 12x16x16 ...`."""
    found = re.findall(
        r"^size ([A-Za-z_]\w{0,63})((?: \d{1,6}(?:x\d{1,6}){0,4}){1,12})$", result.decode("ascii", "replace"), re.MULTILINE
    )
    return {name: tuple(sizes.split()) for name, sizes in found[:500]}


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


def _channels(values: tuple[float, ...]) -> str:
    """`0.3068`, or `(0.4914, 0.4822, 0.4465)` for several channels."""
    shown = ", ".join(f"{value:.4g}" for value in values)
    return f"({shown})" if len(values) > 1 else shown


def _epochs(settings: Settings, data: Dataset) -> int:
    """Passes over the training images, the last one counted even if it is cut short."""
    return settings.epochs or -(-_steps(settings, data) // _steps_per_epoch(settings, data))


def _steps_per_epoch(settings: Settings, data: Dataset) -> int:
    full, rest = divmod(data.sizes["train"], settings.batch_size)
    return full + (rest > 1)


def _steps(settings: Settings, data: Dataset) -> int:
    """Optimizer steps of one training."""
    if settings.steps:
        return settings.steps
    return (settings.epochs or 1) * _steps_per_epoch(settings, data)


def _whole(table: Mapping[str, Any], key: str) -> int | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise TaskError(f"budget.{key} must be a whole number of at least 1, not {value!r}.")
    return value


def _quantity(table: Mapping[str, Any], key: str, default: str, units: Mapping[str, float]) -> float:
    text = str(table.get(key, default))
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]+)\s*", text)
    try:
        if match and match[2] in units and (value := float(match[1]) * units[match[2]]) > 0:
            return value
    except ValueError:
        pass
    raise TaskError(f'budget.{key} = "{text}" must be a number with a unit ({", ".join(units)}), such as "{default}".')

