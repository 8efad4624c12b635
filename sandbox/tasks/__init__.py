"""What candidates are measured at. A task decides what runs inside the sandbox and scores what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox.job import Job, Measured, Progress, Stopped
from sandbox.sandbox import Sandbox, TaskError

__all__ = ["Task", "TaskError", "open_task"]


class Task(Protocol):
    title: str
    """One or two sentences: what the model is for."""
    objectives: tuple[str, ...]
    """Names of the quantities it measures."""

    def facts(self) -> Mapping[str, str]:
        """What a researcher needs to decide, as label -> sentence; shown in every prompt."""
        ...

    def evaluate(
        self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None
    ) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault. `progress` may be called on the way, in this thread."""
        ...


def open_task(
    task: Mapping[str, Any],
    budget: Mapping[str, Any],
    bounds: Mapping[str, float],
    files: tuple[str, ...],
    cache: Path,
    wanted: Collection[str] = (),
) -> Task:
    """From the tables `[task]` and `[budget]`. `bounds` are upper bounds by objective, checked before training.

    `wanted`: names of all that is to be measured; without a name it may be left out, but for what costs nothing.

    Raises TaskError, one sentence, for anything that cannot be.
    """
    from sandbox.tasks.image_classification import ImageClassification
    from sandbox.tasks.image_settings import Settings

    name = task.get("name", "image-classification")
    if name != "image-classification":
        raise TaskError(f"task.name: there is no task {name!r}; known: image-classification.")
    return ImageClassification(Settings.read(task, budget, bounds, files, wanted), cache)
