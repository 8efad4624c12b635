"""What candidates are measured at. A task decides what runs inside the sandbox and scores what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox.job import Job, Measured, Stopped
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

    def evaluate(self, job: Job, sandbox: Sandbox) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault."""
        ...


def open_task(
    task: Mapping[str, Any], budget: Mapping[str, Any], bounds: Mapping[str, float], files: tuple[str, ...], cache: Path
) -> Task:
    """From the tables `[task]` and `[budget]`. `bounds` are upper bounds by objective, checked before training.

    Raises TaskError, one sentence, for anything that cannot be.
    """
    from sandbox.tasks.image_classification import ImageClassification, Settings

    name = task.get("name", "image-classification")
    if name != "image-classification":
        raise TaskError(f"task.name: there is no task {name!r}; known: image-classification.")
    return ImageClassification(Settings.read(task, budget, bounds.get("parameters"), files), cache)
