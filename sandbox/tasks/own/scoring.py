"""Scores the predictions for a seed's own task, on the trusted side, and checks that each row was predicted by itself."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sandbox.sandbox import TaskError
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.own.task_file import TaskFile

if TYPE_CHECKING:
    import numpy as np

CHANGED = 0.01
"""A prediction has changed if it differs by this share of the spread over the rows, or if its rank does by this share of them."""
NOISE = 1e-4
"""Relative difference below which another rank is rounding."""
TOLERANCE = 0.01
"""Largest share of rows whose prediction may depend on the other rows of the call. The worse score counts."""


class Scoring:
    """Calls `normalised` and `score` of a task's file, in any thread."""

    def __init__(self, file: TaskFile) -> None:
        self._file = file
        self._lock = threading.Lock()  # the user's code need not be thread-safe

    def worse(self, targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        """The worse of both values for each objective. Raises StageFailed for rows that depend on the other rows of a call."""
        with self._lock:
            first, second = self._normalised(first), self._normalised(second)
            changed = changed_share(first, second)
            if changed > TOLERANCE:
                raise StageFailed(
                    "integrity",
                    f"The predictions for {changed:.1%} of the rows change with the other rows of the batch or the call, or "
                    "with their order: every row must be predicted by itself.",
                )
            scores = [self._scored(predictions, targets) for predictions in (first, second)]
        worse = {"max": min, "min": max}
        return {name: worse[way](score[name] for score in scores) for name, way in self._file.objectives.items()}

    def once(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Return the value of each objective. Raises StageFailed."""
        with self._lock:
            return self._scored(self._normalised(predictions), targets)

    def kept(
        self, name: str, nothing: Mapping[str, float], foreign: Mapping[str, float], reached: Mapping[str, float]
    ) -> float | None:
        """Return the share of the gain over constant predictions that foreign weights keep; None if there is no gain."""
        sign = 1 if self._file.objectives[name] == "max" else -1
        gain = sign * (reached[name] - nothing[name])
        return sign * (foreign[name] - nothing[name]) / gain if gain > 1e-9 * abs(nothing[name]) else None

    def _normalised(self, predictions: np.ndarray) -> np.ndarray:
        import numpy as np

        if not hasattr(self._file.module, "normalised"):
            return predictions
        try:
            values = np.asarray(self._file.call("normalised", predictions))
        except TaskError as error:
            raise StageFailed("score", str(error)) from None
        if values.shape[:1] != predictions.shape[:1] or not np.isfinite(values).all():
            raise StageFailed("score", f"normalised() of {self._file.path.name} must return one finite entry for each row.")
        return values

    def _scored(self, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Return one score. Raises StageFailed: usually the predictions are to blame; other mistakes show with the seed."""
        try:
            scores = self._file.call("score", predictions, targets)
        except TaskError as error:
            raise StageFailed("score", str(error)) from None
        name, wanted = self._file.path.name, sorted(self._file.objectives)
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


def changed_share(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of rows that differ, relative to each output's spread over the rows: scale and offset do not matter.

    The spread is that of the middle half of the rows, so that a few extreme ones cannot make all other differences look small;
    and a row that takes another place among the others has changed however small the difference is.
    """
    import numpy as np

    a, b = (values.reshape(len(values), -1).astype("f8") for values in (first, second))
    spread = _spread(a)
    difference = np.abs(a - b)
    moved = np.abs(_ranks(a) - _ranks(b)) > max(1.0, CHANGED * len(a))
    seen = difference > NOISE * np.abs(a) + 1e-7 * spread
    return float(((difference > CHANGED * spread + 1e-6 * np.abs(a)) | (moved & seen)).any(1).mean())


def _spread(values: np.ndarray) -> np.ndarray:
    """Return a robust standard deviation of each column. Where the middle half is one value it is that of the other columns."""
    import numpy as np

    low, high = np.percentile(values, (25, 75), axis=0)
    spread = (high - low) / 1.349
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 0.01 * float(values.std())
    return np.asarray(np.maximum(spread, 0.01 * typical))


def _ranks(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.asarray(values.argsort(0, kind="stable").argsort(0, kind="stable"))
