"""The tables `[task]` and `[budget]` of image classification, parsed and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.data.dataset import REQUEST_KEYS, DataRequest, Dataset, read_size
from sandbox.data.secret import KEY as SECRET
from sandbox.sandbox import TaskError
from sandbox.tasks.common.settings import SIZES, UNITS, quantity, refuse_unknown
from sandbox.tasks.common.task import TaskTables
from sandbox.tasks.image_classification.training.recipe import TrainingRecipe

OBJECTIVES = ("accuracy", "parameters", "latency", "flops", "memory", "train_time")
LENGTHS = ("epochs", "steps", "seconds")


@dataclass(frozen=True)
class ImageSettings:
    """The settings of one task."""

    request: DataRequest
    file: str
    """The file that defines `build_model`."""
    input_size: tuple[int, int] | None
    """(height, width) of the model's input, resized on the device; None: as the images are stored."""
    recipe: TrainingRecipe
    model: str
    """The name in `file` of what makes the model, a function or a class."""
    epochs: int | None
    steps: int | None
    train_seconds: float | None
    """Exactly one of `epochs`, `steps` and `train_seconds` is set: the length of a training."""
    batch_size: int
    seconds: float
    """Wall time after which a training is ended as a failure."""
    memory: int
    early_stop: bool
    """Whether to end a training that has learned nothing in a third of its length."""
    bounds: Mapping[str, float]
    """Upper bounds by objective."""
    wanted: frozenset[str]
    """Objectives and constrained quantities of the run. A quantity that costs time is measured only if it is listed."""

    @classmethod
    def read(cls, tables: TaskTables) -> ImageSettings:
        """Parse the tables. Raises TaskError, one sentence."""
        task, budget, bounds, files = tables.task, tables.budget, tables.bounds, tables.files
        refuse_unknown("task", task, {"name", "entry", "model", "input_size", "training", SECRET, *REQUEST_KEYS})
        refuse_unknown("budget", budget, {*LENGTHS, "batch_size", "time_limit", "memory", "early_stop"})
        request = DataRequest.read(task)
        if sum(key in budget for key in LENGTHS) != 1:
            raise TaskError("budget: give either epochs or steps or seconds.")
        entry = task.get("entry", files[0])
        if entry not in files:
            raise TaskError(f"task.entry: {entry} is not among the seed's files ({', '.join(files)}).")
        seconds = _seconds(budget)
        limit = quantity(budget, "time_limit", f"{max(120.0, 2 * (seconds or 0)):g}s", UNITS)
        if seconds and seconds >= limit:
            raise TaskError(f"budget.seconds = {seconds:g} must be less than budget.time_limit, which stops a training.")
        return cls(
            request=request,
            file=entry,
            input_size=read_size(task, "input_size"),
            recipe=TrainingRecipe.read(task.get("training", {})),
            model=_model(task),
            epochs=_whole(budget, "epochs"),
            steps=_whole(budget, "steps"),
            train_seconds=seconds,
            batch_size=_whole(budget, "batch_size") or 64,
            seconds=limit,
            memory=int(quantity(budget, "memory", "4GiB", SIZES)),
            early_stop=_early_stop(budget),
            bounds=dict(bounds),
            wanted=frozenset(tables.wanted) | frozenset(bounds),
        )

    def steps_per_epoch(self, data: Dataset) -> int:
        full, rest = divmod(data.sizes["train"], self.batch_size)
        return full + (rest > 1 and not (full and self.recipe.whole_batches))

    def all_steps(self, data: Dataset) -> int:
        """Return the optimizer steps of one training; 0 if only the seconds are known."""
        if self.train_seconds:
            return 0
        return self.steps or (self.epochs or 1) * self.steps_per_epoch(data)

    def all_epochs(self, data: Dataset) -> int | None:
        """Return the passes over the training images, counting a last partial one; None if only the seconds are known."""
        if self.train_seconds:
            return None
        return self.epochs or -(-self.all_steps(data) // self.steps_per_epoch(data))


def _model(table: Mapping[str, Any]) -> str:
    value = table.get("model", "build_model")
    if not isinstance(value, str) or not value.isidentifier():
        raise TaskError(f"task.model must be the name of a function or class, not {value!r}.")
    return value


def _whole(table: Mapping[str, Any], key: str) -> int | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise TaskError(f"budget.{key} must be a whole number of at least 1, not {value!r}.")
    return value


def _seconds(table: Mapping[str, Any]) -> float | None:
    value = table.get("seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise TaskError(f"budget.seconds must be a number above 0, not {value!r}.")
    return float(value)


def _early_stop(table: Mapping[str, Any]) -> bool:
    value = table.get("early_stop", "never")
    if value not in ("never", "chance"):
        raise TaskError(f'budget.early_stop must be "never" or "chance", not {value!r}.')
    return bool(value == "chance")
