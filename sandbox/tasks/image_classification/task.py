"""The task `image-classification` as the trusted side opens it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sandbox.data import Secret, load
from sandbox.data.secret import KEY as SECRET
from sandbox.sandbox import Sandbox
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed, StageFailure
from sandbox.tasks.common.task import Task, TaskTables
from sandbox.tasks.image_classification.evaluation import ImageEvaluation
from sandbox.tasks.image_classification.facts import facts
from sandbox.tasks.image_classification.first_look import doubts, remarks
from sandbox.tasks.image_classification.grant import StartCosts
from sandbox.tasks.image_classification.settings import OBJECTIVES, ImageSettings

_TEST_ORIGIN = {
    True: "the data's own test split",
    False: "a fifth of the training images of each class, set aside before any search",
    None: "images that were set aside before any search",
}
"""By `Dataset.own_test`."""

_SHAPES = re.compile(r"shape|size|dimension|kernel", re.IGNORECASE)
"""What torch's errors about sizes that do not fit have in common."""
_SIDES = (28, 32, 64, 96, 128, 224)
"""Sizes that published models are made for, in pixels."""


class ImageClassification(Task):
    """The task `image-classification`. Objectives: see `facts`."""

    objectives: tuple[str, ...] = OBJECTIVES
    has_test_split = True

    @classmethod
    def open(cls, tables: TaskTables) -> ImageClassification:
        """Raises TaskError."""
        return cls(ImageSettings.read(tables), tables.cache, tables.secret(), tables.packages())

    def __init__(self, settings: ImageSettings, cache: Path, secret: Secret, packages: tuple[Path, ...] = ()) -> None:
        """Open the task; decode the data set into `cache` if it is not there yet. Raises TaskError."""
        self._settings, self._secret, self._packages = settings, secret, packages
        self._data = load(settings.request, cache, secret)
        self._starts = StartCosts()
        self.pins = {SECRET: secret.text}
        self.title = f"Classify images into {self._data.num_classes} classes."
        if settings.model != "build_model":
            self.entry_points = frozenset({settings.model, "build_optimizer", "augment", "loss"})
        self.provenance = {"data": self._data.digest()}
        self.floors = {"accuracy": _majority_share(self._data.targets("validation"))}
        self.test_note = f"{_TEST_ORIGIN[self._data.own_test]}, {self._data.sizes['test']:,} images"

        self.remarks = remarks(settings, self._data)
        self.doubts = doubts(self._data)

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. Raises SandboxUnavailable if the machine is at fault. `progress` is called in this thread."""
        try:
            return self._evaluation(self._settings, job, sandbox, progress).run()
        except StageFailed as failed:
            return failed.failure

    def check(self, job: Job, sandbox: Sandbox) -> StageFailure | None:
        """Try the seed on one batch. One that does not fit the images is tried on other sizes, to say which it was made for."""
        failure = self._smoke(self._settings, job, sandbox)
        if failure is None or not _SHAPES.search(failure.reason):
            return failure
        for side in _SIDES:
            if self._smoke(replace(self._settings, input_size=(side, side)), job, sandbox) is None:
                has = f"The images have {self._data.height} x {self._data.width} pixels"
                hint = f"it runs on {side} x {side}: --set task.input_size=[{side},{side}] resizes them."
                return replace(failure, reason=f"{failure.reason} {has}, and {hint}")
        return failure

    def _evaluation(
        self, settings: ImageSettings, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None
    ) -> ImageEvaluation:
        """Raises StageFailed if the program is too long."""
        return ImageEvaluation(settings, self._data, self._secret, job, sandbox, self._packages, self._starts, progress)

    def _smoke(self, settings: ImageSettings, job: Job, sandbox: Sandbox) -> StageFailure | None:
        try:
            self._evaluation(settings, job, sandbox, None).smoke()
        except StageFailed as failed:
            return failed.failure
        return None

    def facts(self) -> dict[str, str]:
        return facts(self._settings, self._data)


def _majority_share(labels: np.ndarray) -> float:
    """What always answering the most frequent class reaches, and two standard errors of chance more."""
    share = float(np.bincount(labels).max()) / len(labels)
    return share + 2 * math.sqrt(share * (1 - share) / len(labels))
