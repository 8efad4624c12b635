"""What a trained candidate is judged by: the classes that it predicts, with its own weights and foreign ones, and its latency.

All of this runs on the trusted side, which alone knows the labels; each prediction is a call of its own in the sandbox.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.data import Dataset, Secret, Split
from sandbox.launch import temporary
from sandbox.sandbox import Call, CallLimits, Report, Sandbox
from sandbox.tasks.common.foreign import DRAWS, ROWS, chance, foreign_weights
from sandbox.tasks.common.job import Job, StageFailed
from sandbox.tasks.common.latency import EMPTY, empty_weights, images_needed, rounds_needed, seconds_each
from sandbox.tasks.common.stages import Stages
from sandbox.tasks.image_classification.grant import StartCosts
from sandbox.tasks.image_classification.settings import ImageSettings

if TYPE_CHECKING:
    import numpy as np

PREDICT_SECONDS = 60.0
TOLERANCE = 0.01
"""Largest share of images whose class may depend on the other images of the call. Such images count as wrong."""
INSIDE = "sandbox.tasks.image_classification.inside"


class Judge:
    """Judges one trained candidate."""

    def __init__(
        self,
        settings: ImageSettings,
        data: Dataset,
        secret: Secret,
        job: Job,
        sandbox: Sandbox,
        stages: Stages,
        starts: StartCosts,
        options: Callable[..., dict[str, Any]],
    ) -> None:
        """`options`: those of a call, to which it adds what it is given."""
        self._settings, self._data, self._secret, self._job = settings, data, secret, job
        self._sandbox, self._stages, self._starts, self._options = sandbox, stages, starts, options

    def accuracy(self, weights: bytes, split: Split, targets: np.ndarray) -> tuple[float, np.ndarray, float]:
        """(accuracy on the images of a split, classes (N,), seconds of the call with all images). `targets`: their labels.

        An image counts as right if it is classified correctly twice: among all images, and among half of them, in other
        batches. Classes are compared, since logits can be scaled until any difference looks small. The halves are the
        darker and the brighter images, sorted, so that statistics of a batch or of all images differ. Where an image stands
        among all is drawn from the secret and the weights, so that no candidate can know it, nor learn it from another.
        """
        import numpy as np

        images, batch = self._images(split), self._settings.batch_size
        digest = hashlib.sha256(weights).digest()
        whole, halves = (self._secret.permutation(len(images), call, split, digest) for call in ("whole", "halves"))
        first, seconds = self._predict(images, weights, whole, batch)
        second = np.empty_like(first)
        brightness = images.reshape(len(images), -1).mean(1)
        for half in np.array_split(halves[brightness[halves].argsort(kind="stable")], 2):
            second[half] = self._predict(images, weights, half, batch // 2 + 1)[0][half]
        _check_company(first, second)
        return float(((first == targets) & (second == targets)).mean()), first, seconds

    def check_foreign(self, weights: bytes, accuracy: float) -> None:
        """Raise StageFailed if the program predicts with foreign weights better than guessing: see `common.foreign`."""
        targets, digest = self._data.targets("validation"), hashlib.sha256(weights).digest()
        random = self._secret.generator("foreign", digest)
        rows = random.permutation(len(targets))[:ROWS]
        guessing, reached = chance(targets[rows]), []
        if accuracy <= guessing:
            return
        images = self._images("validation")
        for _ in range(DRAWS):
            try:
                classes, _ = self._predict(images, foreign_weights(weights, random), rows, self._settings.batch_size)
            except StageFailed:  # it crashes, or finds no finite logits: it does need its own weights
                return
            reached.append(float((classes[rows] == targets[rows]).mean()))
            if reached[-1] <= guessing:
                return
        raise StageFailed(
            "integrity",
            f"With its weights shuffled it still classifies {min(reached):.1%} of the images correctly, where guessing reaches "
            f"{guessing:.1%}: what it knows is not in its counted weights.",
        )

    def start_seconds(self) -> float:
        """Return the processor time of a call of `predict` without a model's work."""
        import numpy as np

        def measure() -> float:
            some, weights = self._images("validation"), empty_weights(self._data.num_classes)
            return self._timed(np.asarray(some), weights, self._settings.batch_size, EMPTY).cpu_seconds

        return self._starts.of(self._stages.device, self._job.threads, measure)

    def latency(self, weights: bytes, classes: np.ndarray, predicted: float) -> float:
        """Return the seconds for each image, in batches of the training's size.

        Timed are the validation images among so many training images, each at most once, that the work takes about a second.
        """
        import numpy as np

        images, batch = self._images("validation"), self._settings.batch_size
        more, digest = self._images("train"), hashlib.sha256(weights).digest()

        def empty(given: np.ndarray) -> float:
            return self._timed(given, empty_weights(self._data.num_classes), batch, EMPTY).seconds

        each = (predicted - empty(np.asarray(images))) / len(images)
        wanted = max(0, images_needed(len(images) + len(more), each, images[0].nbytes) - len(images))
        others = more[np.sort(self._secret.permutation(len(more), "timed", digest)[:wanted])]
        known = np.concatenate([classes, self._classes_apart(images, others, weights)])
        mixed = np.concatenate([images, others])

        def timed(number: int) -> float:
            order = self._secret.permutation(len(mixed), "timed", digest, str(number))
            found, seconds = self._predict(mixed, weights, order, batch)
            _check_company(found, known)
            return seconds

        return seconds_each(timed, lambda: empty(mixed), len(mixed), rounds_needed(len(mixed) * each))

    def _classes_apart(self, images: np.ndarray, others: np.ndarray, weights: bytes) -> np.ndarray:
        """Return the classes of the others, predicted in calls that no size tells from those that measure accuracy."""
        import numpy as np

        found = []
        for start in range(0, len(others), len(images)):
            some = others[start : start + len(images)]
            rows = np.arange(len(images))
            filled = np.concatenate([some, images[: len(images) - len(some)]])
            found.append(self._predict(filled, weights, rows, self._settings.batch_size)[0][: len(some)])
        return np.concatenate(found) if found else np.empty(0, int)

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
                return self._stages.run("predict", f"{INSIDE}:predict", limits, inputs, self._options(batch_size=batch_size))
            options = self._options(batch_size=batch_size) | {"file": "model.py"}
            sources, device, threads = {"model.py": instead}, self._job.device, self._job.threads
            packages = self._stages.packages
            return self._sandbox.run(
                Call(f"{INSIDE}:predict", sources, limits, inputs, options, device, threads, readable=packages)
            )

    def _images(self, split: Split) -> np.ndarray:
        """uint8 (N, C, H, W) of a split, read lazily."""
        import numpy as np

        return np.asarray(np.load(self._data.images(split), mmap_mode="r"))


def _check_company(first: np.ndarray, second: np.ndarray) -> None:
    """Raise StageFailed if classes of the same images differ between two calls with different other images."""
    changed = float((first != second).mean())
    if changed > TOLERANCE:
        raise StageFailed(
            "integrity",
            f"The predicted class of {changed:.1%} of the images changes with the other images of the batch or the "
            "call, or with their order: in eval mode every image must be judged by itself.",
        )
