"""What candidates are measured at. A task decides what runs inside the sandbox and scores what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox.job import Job, Measured, Progress, Stopped
from sandbox.sandbox import Sandbox, TaskError

__all__ = ["Task", "TaskError", "open_task", "reported"]


class Task(Protocol):
    title: str
    """One or two sentences: what the model is for."""
    objectives: tuple[str, ...]
    """Names of the quantities it measures."""
    directions: Mapping[str, str] = {}
    """`max` or `min` by objective, where the task itself says it; these are a run's objectives if it names none."""
    calls: frozenset[str] | None = None
    """Names that it may call on the seed's program; None: the usual entry points."""
    sealed: bool = True
    """Has it a test split that nothing but confirmation opens?"""
    pins: Mapping[str, str] = {}
    """Added to the table `[task]` of a run, so that a later process of it opens the same."""
    basis: Mapping[str, str] = {}
    """What its measurements rest on beside the code, by name: a text or a digest. Recorded, and compared by a resume."""

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
    folder: Path = Path(),
) -> Task:
    """From the tables `[task]` and `[budget]`. `bounds` are upper bounds by objective, checked before training.

    `wanted`: names of all that is to be measured; without a name it may be left out, but for what costs nothing.
    `files`: the seed's, relative to its `folder`.

    Raises TaskError, one sentence, for anything that cannot be.
    """
    name = task.get("name", "image-classification")
    if name == "image-classification":
        from sandbox.tasks.image_classification import ImageClassification
        from sandbox.tasks.image_settings import Settings

        return ImageClassification(Settings.read(task, budget, bounds, files, wanted), cache)
    if name == "script":
        from sandbox.tasks.script.task import ScriptTask

        return ScriptTask.open(task, budget, files, cache, folder)
    if isinstance(name, str) and name.endswith(".py"):
        from sandbox.tasks.own.task import OwnTask

        return OwnTask.open(task, budget, bounds.get("parameters"), files, cache, folder)
    raise TaskError(
        f"task.name: there is no task {name!r}; known: image-classification, script, or the path of a task.py of your own."
    )


def reported(task: Mapping[str, Any]) -> dict[str, str]:
    """From the table `[task]` alone: the objectives that are a candidate's own word, each with the reason."""
    if task.get("name") != "script":
        return {}
    from sandbox.tasks.script.task import REASON

    return dict.fromkeys(task["metrics"], REASON)
