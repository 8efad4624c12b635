"""The task `image-classification` as the trusted side opens it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sandbox.data import Secret, load
from sandbox.data.dataset import Dataset
from sandbox.data.secret import KEY as SECRET
from sandbox.sandbox import Sandbox, TaskError
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed, StageFailure
from sandbox.tasks.common.task import Task, TaskTables
from sandbox.tasks.image_classification.adaptation import fitting, told
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
        self._cache, self._secret, self._packages = cache, secret, packages
        self._starts = StartCosts()
        self.pins = {SECRET: secret.text}
        self._take(settings, load(settings.request, cache, secret))
        self.title = f"Classify images into {self._data.num_classes} classes."
        if settings.model != "build_model":
            self.entry_points = frozenset({settings.model, "build_optimizer", "augment", "loss"})
        self.floors = {"accuracy": _majority_share(self._data.targets("validation"))}
        self.test_note = f"{_TEST_ORIGIN[self._data.own_test]}, {self._data.sizes['test']:,} images"
        self.doubts = doubts(self._data)

    def _take(self, settings: ImageSettings, data: Dataset) -> None:
        self._settings, self._data = settings, data
        self.provenance = {"data": data.digest()}
        self.remarks = remarks(settings, data)

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. Raises SandboxUnavailable if the machine is at fault. `progress` is called in this thread."""
        try:
            return self._evaluation(self._settings, self._data, job, sandbox, progress).run()
        except StageFailed as failed:
            return failed.failure

    def check(self, job: Job, sandbox: Sandbox) -> StageFailure | None:
        """Try the seed on one batch. If it runs on images in other colours or of another size alone, they are changed for it.

        The keys that say so are then among `pins`, and a line of the `remarks` tells it.
        """
        failure = self._smoke(self._settings, self._data, job, sandbox)
        if failure is None:
            return None
        images = fitting(self._settings, self._data, failure, lambda s, d: self._smoke(s, d, job, sandbox))
        if images is None:
            return failure
        request = replace(self._settings.request, channels=images.channels or self._settings.request.channels)
        try:
            data = load(request, self._cache, self._secret)
        except TaskError as error:  # a package that changes colours is missing
            return replace(failure, reason=f"{failure.reason} {error}")
        note = told(images, self._data)
        self._take(replace(self._settings, request=request, input_size=images.size or self._settings.input_size), data)
        self.remarks = (*self.remarks, note)
        self.pins = {**self.pins, **images.keys}
        return None

    def _smoke(self, settings: ImageSettings, data: Dataset, job: Job, sandbox: Sandbox) -> StageFailure | None:
        try:
            self._evaluation(settings, data, job, sandbox, None).smoke()
        except StageFailed as failed:
            return failed.failure
        return None

    def _evaluation(
        self, settings: ImageSettings, data: Dataset, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None
    ) -> ImageEvaluation:
        """Raises StageFailed if the program is too long."""
        return ImageEvaluation(settings, data, self._secret, job, sandbox, self._packages, self._starts, progress)

    def facts(self) -> dict[str, str]:
        return facts(self._settings, self._data)


def _majority_share(labels: np.ndarray) -> float:
    """What always answering the most frequent class reaches, and two standard errors of chance more."""
    share = float(np.bincount(labels).max()) / len(labels)
    return share + 2 * math.sqrt(share * (1 - share) / len(labels))
