"""Has a trained program of a seed's own task predict, in the sandbox, with its own weights and with foreign ones."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.data import Secret, Split
from sandbox.launch import temporary
from sandbox.sandbox import CallLimits, Report
from sandbox.tasks.common.foreign import DRAWS, foreign_weights
from sandbox.tasks.common.job import StageFailed
from sandbox.tasks.own.scoring import Scoring
from sandbox.tasks.own.settings import OwnTaskSettings
from sandbox.tasks.own.splits import Part, Splits

if TYPE_CHECKING:
    import numpy as np

PREDICT_SECONDS = 60.0
FEWEST_ROWS = 100
"""A part of so many rows is enough to judge foreign weights by; of a split in smaller parts all are predicted."""
KEPT = 0.25
"""Largest share of its gain over constant predictions that a program may keep with foreign weights."""

Run = Callable[[CallLimits, Mapping[str, Path]], Report]
"""Runs the stage `predict` of a candidate with these inputs. Raises StageFailed."""


class Predictions:
    """The predictions for the rows of a task."""

    def __init__(self, splits: Splits, output_shape: tuple[int, ...], settings: OwnTaskSettings, secret: Secret) -> None:
        self._splits, self._output_shape, self._settings, self._secret = splits, output_shape, settings, secret

    def twice(self, run: Run, weights: bytes, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of all rows of a split, twice: among all others of their part, and among half of them, in another order."""
        import numpy as np

        first, second = [], []
        digest = hashlib.sha256(weights).digest()
        for number, part in enumerate(self._splits.parts[split]):
            whole = np.empty((part.rows, *self._output_shape), "<f4")
            halves = np.empty_like(whole)
            shuffled, again = (
                self._secret.permutation(part.rows, call, split, str(number), digest) for call in ("whole", "halves")
            )
            whole[shuffled] = self._predict(run, weights, part, shuffled)
            for rows in np.array_split(_sorted(part, again), 2):
                halves[rows] = self._predict(run, weights, part, rows)
            first.append(whole)
            second.append(halves)
        return np.concatenate(first), np.concatenate(second)

    def check_foreign(self, run: Run, weights: bytes, first: np.ndarray, scoring: Scoring) -> None:
        """Raise StageFailed if foreign weights predict clearly better than a constant: see `common.foreign`.

        `first`: the predictions with its own weights, of all validation rows. What cannot be scored cannot be judged.
        """
        import numpy as np

        random = self._secret.generator("foreign", hashlib.sha256(weights).digest())
        parts = self._splits.parts["validation"]
        ends = np.cumsum([part.rows for part in parts])
        chosen = [number for number in random.permutation(len(parts)) if parts[number].rows >= FEWEST_ROWS][:1]
        chosen = sorted(chosen or range(len(parts)))
        own = np.concatenate([first[ends[n] - parts[n].rows : ends[n]] for n in chosen])
        targets = np.concatenate([parts[n].targets for n in chosen])
        try:
            reached, nothing = (scoring.once(values, targets) for values in (own, np.broadcast_to(own.mean(0), own.shape)))
        except StageFailed:
            return
        kept: dict[str, float] = {}
        for _ in range(DRAWS):
            mixed = foreign_weights(weights, random)
            try:
                found = [
                    self._predict(run, mixed, parts[n], random.permutation(parts[n].rows), restore=True) for n in chosen
                ]
                scores = scoring.once(np.concatenate(found), targets)
            except StageFailed:
                return
            kept = {name: share for name in scores if (share := scoring.kept(name, nothing, scores, reached)) is not None}
            if not kept or min(kept.values()) <= KEPT:
                return
        shares = " and ".join(f"{share:.0%} of its gain in {name}" for name, share in kept.items())
        raise StageFailed(
            "integrity",
            f"With its weights shuffled it still keeps {shares} over a constant prediction: what it knows is not in its counted "
            "weights.",
        )

    def _predict(
        self, run: Run, weights: bytes, part: Part, rows: np.ndarray, *, restore: bool = False
    ) -> np.ndarray:
        """Predict rows; return float32 (len(rows), *output_shape), in the order of `rows`, or of the part with `restore`."""
        import numpy as np

        s, shape = self._settings, (len(rows), *self._output_shape)
        with tempfile.TemporaryDirectory(dir=temporary.folder()) as folder:
            inputs = {"weights": Path(folder) / "weights"}
            inputs["weights"].write_bytes(weights)
            for number, (name, values) in enumerate(part.inputs.items()):
                inputs[f"inputs/{name}"] = Path(folder) / f"{number}.npy"
                np.save(inputs[f"inputs/{name}"], values[rows])
            limits = CallLimits(max(PREDICT_SECONDS, s.seconds / 2), s.memory, result=4 * math.prod(shape))
            report = run(limits, inputs)
        if len(report.result) != 4 * math.prod(shape):
            raise StageFailed("predict", f"Prediction did not return an array of {shape}.", report.log)
        values = np.frombuffer(report.result, "<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise StageFailed("predict", "The trained model predicts NaN or infinite values.", report.log)
        if not restore:
            return values
        restored = np.empty_like(values)
        restored[rows] = values
        return restored


def _sorted(part: Part, shuffled: np.ndarray) -> np.ndarray:
    """Return the rows sorted by the mean of their first array, so that the two halves differ in every statistic.

    Rows with the same mean, and all rows of what has none, stay in the order of `shuffled`.
    """
    import numpy as np

    values = next(iter(part.inputs.values()))
    if values.dtype.kind not in "iufb":
        return shuffled
    mean = values.reshape(part.rows, -1).astype("f8").mean(1)
    return np.asarray(shuffled[mean[shuffled].argsort(kind="stable")])
