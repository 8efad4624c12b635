"""The job of one evaluation, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["smoke", "fit", "predict", "integrity", "score"]


@dataclass(frozen=True)
class Job:
    """Everything that an evaluation depends on apart from its task."""

    sources: Mapping[str, str]
    """The candidate's files: relative path -> text."""
    training_seed: int
    device: str = "cpu"
    threads: int = 1
    seed_size: int = 0
    """Characters of the seed's files together: if they are more than a program may have, the limit holds for what was added."""
    timed: bool = False
    """The time of the training is an objective or bounded: it is measured alone, while nothing else trains on the machine."""
    test_too: bool = False
    """Score the same weights on the sealed test split too. Only a confirmation asks for it, once the opening is journaled."""


@dataclass(frozen=True)
class Progress:
    """What a training reports about itself while it runs: a claim, never part of a fitness."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    """Mean over the epoch so far."""
    accuracy: float
    """Share of the epoch's training images that were classified correctly."""

    def __str__(self) -> str:
        return f"epoch {self.epoch}/{self.epochs} loss {self.loss:.3g}"


@dataclass(frozen=True)
class Measured:
    """What the trusted side measured of a candidate that trained and predicted."""

    values: Mapping[str, float]
    """One finite value for each objective of the task, measured on the validation split."""
    seconds: Mapping[str, float]
    """Wall time of each stage."""
    peak_memory: int
    """Bytes, in the stage that needed the most."""
    level: str
    """Level of isolation of the sandbox."""
    layers: tuple[str, ...] = ()
    curve: tuple[tuple[float, ...], ...] = ()
    """What the training reported about itself, a row for each epoch: (loss, accuracy). Never part of a fitness."""
    parameters_by_block: Mapping[str, int] = field(default_factory=dict)
    """What the model reported about itself. Never part of a fitness."""
    calls_by_block: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """The first calls of each block for one image: the size returned, such as 12x16x16, and the parameters of the instance
    that is called, 0 if it was called before; also the model's own report."""
    parameters_by_part: Mapping[str, int] = field(default_factory=dict)
    """Of the largest parts of the model, by the names in its state."""
    mistakes: tuple[tuple[str, int], ...] = ()
    """The commonest mistakes on the validation split, such as (`Shirt as Coat`, images), and (`all`, wrong images) at the end;
    empty where nothing is classified. Never part of a fitness."""
    printed: tuple[str, ...] = ()
    """Some lines of what a script printed, its last one at the end; hostile text."""
    load: float | None = None
    """The machine's load average over a minute when a time began to be measured; None if no time is an objective."""
    test_values: Mapping[str, float] | None = None
    """The same objectives, measured on the test split with the same weights; None unless `Job.test_too`."""


@dataclass(frozen=True)
class StageFailure:
    """The candidate's fault: the stage at which its evaluation ended, and why."""

    stage: Stage
    reason: str
    log: str = ""
    """Output of the stage. Hostile text."""


class StageFailed(Exception):
    """Carries a `StageFailure` up to the end of the evaluation; never leaves a task."""

    def __init__(self, stage: Stage, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.failure = StageFailure(stage, reason, log)
