"""The table `[task.training]`: the parts of a training that the configuration fixes and the seed's source does not.

With the defaults a training is as plain as possible: float32 on a CPU, no augmentation, the seed's own schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from sandbox.sandbox import TaskError

Precision = Literal["auto", "float32", "bf16"]
Schedule = Literal["seed", "one-cycle", "plateau", "constant"]
Resize = Literal["first", "last"]

_RANGES: Mapping[str, tuple[float, float]] = {
    "flip": (0, 1), "translate": (0, 0.5), "cutout": (0, 1), "jitter": (0, 1), "chance": (0, 1),
    "label_smoothing": (0, 0.9), "ema": (0, 0.99999), "warmup_steps": (0, 1e9), "factor": (0.01, 0.99),
    "patience": (0, 1e6), "stop_below": (0, 1e3),
}  # fmt: skip


@dataclass(frozen=True)
class TrainingRecipe:
    """Shares and probabilities are in 0..1; 0 switches a feature off."""

    precision: Precision = "auto"
    """`bf16`: autocast. `auto`: bf16 on a GPU, float32 on a CPU."""
    flip: float = 0.0
    """Probability that a training image is mirrored left to right."""
    translate: float = 0.0
    """Training images are shifted by up to this share of a side, in whole pixels; the new pixels have the mean colour."""
    cutout: float = 0.0
    """Side of a square of the mean colour in each training image, as a share of the image's side."""
    jitter: float = 0.0
    """Brightness, contrast and saturation are scaled by up to 1 +- this."""
    resize: Resize = "first"
    """`first`: resize, then augment. `last`: augment the stored images, then resize: cheaper where images get larger, and shifts
    are whole stored pixels."""
    chance: float = 1.0
    """Probability of translation, cutout and jitter, each drawn separately for each image."""
    label_smoothing: float = 0.0
    """Label smoothing of the default loss."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is the result of the training; 0: the last weights are."""
    schedule: Schedule = "seed"
    """`seed`: the scheduler that `build_optimizer` returns. Any other is fixed, starts from the rate that `build_optimizer`
    chose, and replaces that scheduler: `one-cycle` up linearly, then down by a cosine to 0 at the last step; `plateau` see
    `factor`; `constant`."""
    warmup_steps: int = 0
    """Linear rise of the rate from 0, in every schedule but `seed`."""
    factor: float = 0.7
    """`plateau`: the rate is multiplied by this ..."""
    patience: int = 5
    """... when the training loss of an epoch has not improved for this many epochs."""
    stop_below: float = 0.0
    """`plateau`: training ends when the rate has fallen below this."""
    whole_batches: bool = False
    """Skip the last batch of an epoch if it is smaller: on a GPU another size costs seconds of preparation."""
    cuda_graphs: bool = False
    """Run forward and backward pass of a batch as one CUDA graph: faster where a step is many small kernels. Ignored on a CPU;
    a model that cannot be captured is trained without it."""

    @classmethod
    def read(cls, table: Any) -> TrainingRecipe:
        """Parse the table. Raises TaskError, one sentence."""
        if not isinstance(table, Mapping):
            raise TaskError(f"task.training must be a table, not {table!r}.")
        if "compile" in table:
            raise TaskError(
                "task.training.compile: torch.compile starts compiler processes, which the sandbox forbids; use cuda_graphs."
            )
        known = {field.name for field in fields(cls)}
        if unknown := sorted(table.keys() - known):
            raise TaskError(f"task.training: unknown key {unknown[0]}; known: {', '.join(sorted(known))}.")
        for key, value in table.items():
            _check(key, value)
        return cls(**table)

    @property
    def augments(self) -> bool:
        return bool(self.flip or self.translate or self.cutout or self.jitter)

    def augmentation(self) -> str:
        """Return the augmentation in words, for prompts."""
        parts = []
        if self.flip:
            parts.append(f"mirrored with probability {self.flip:g}")
        often = "" if self.chance == 1 else f" with probability {self.chance:g} each"
        inner = []
        if self.jitter:
            inner.append(f"jittered in brightness, contrast and saturation by {self.jitter:g}")
        if self.translate:
            inner.append(f"shifted by up to {self.translate:.0%} of their side")
        if self.cutout:
            inner.append(f"covered by a grey square of {self.cutout:.0%} of their side")
        if inner:
            parts.append(", ".join(inner) + often)
        return "; ".join(parts) or "none"

    def rates(self) -> str:
        """Return the schedule in words, for prompts; empty if it is the seed's."""
        warm = f"a linear rise over {self.warmup_steps:,} steps, then " if self.warmup_steps else ""
        match self.schedule:
            case "seed":
                return ""
            case "one-cycle":
                return f"{warm}a cosine down to 0 at the last step"
            case "constant":
                return f"{warm}a constant rate"
        end = f", until the rate is below {self.stop_below:g}, which ends the training" if self.stop_below else ""
        return f"{warm}x {self.factor:g} when the training loss has not improved for {self.patience} epochs{end}"


def _check(key: str, value: Any) -> None:
    choices = {"precision": get_args(Precision), "schedule": get_args(Schedule), "resize": get_args(Resize)}.get(key)
    if choices:
        if value not in choices:
            raise TaskError(f"task.training.{key} must be one of {', '.join(choices)}, not {value!r}.")
    elif key in ("cuda_graphs", "whole_batches"):
        if not isinstance(value, bool):
            raise TaskError(f"task.training.{key} must be true or false, not {value!r}.")
    else:
        low, high = _RANGES[key]
        whole = key in ("warmup_steps", "patience")
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not math.isfinite(value) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise TaskError(f"task.training.{key} must be {kind} from {low:g} to {high:g}, not {value!r}.")
