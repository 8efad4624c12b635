"""The tasks that measure candidates. A task decides what runs inside the sandbox and scores the results outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from sandbox.sandbox import TaskError
from sandbox.tasks.common.task import Task, TaskTables

__all__ = ["Task", "TaskError", "has_test_split", "open_task", "self_reported"]

TASKS: Mapping[str, str] = {
    "image-classification": "sandbox.tasks.image_classification.task:ImageClassification",
    "script": "sandbox.tasks.script.task:ScriptTask",
}
"""`task.name` -> the class of the task, which has a class method `open(tables)`. To add a kind of task, add a line."""
IMAGES = "image-classification"
"""The task of a run that names none."""
CLAIMED: Mapping[str, str] = {
    "flops": "counted in the process of the program itself: nothing outside has checked it, except that each parameter takes one"
}
"""What a program for images reports about itself, each with the reason for marking it."""
OWN_TASK = "sandbox.tasks.own.task:OwnTask"
"""The class for a name that ends in `.py`: the user's own task file."""


def open_task(
    task: Mapping[str, Any],
    budget: Mapping[str, Any],
    bounds: Mapping[str, float],
    files: tuple[str, ...],
    cache: Path,
    wanted: Collection[str] = (),
    folder: Path = Path(),
) -> Task:
    """Open the task of the tables `[task]` and `[budget]`; the other arguments are described at `TaskTables`.

    Raises TaskError, one sentence, for anything that is impossible.
    """
    name = task.get("name", IMAGES)
    place = OWN_TASK if isinstance(name, str) and name.endswith(".py") else TASKS.get(name) if isinstance(name, str) else None
    if place is None:
        known = ", ".join(TASKS)
        raise TaskError(f"task.name: there is no task {name!r}; known: {known}, or the path of a task.py of your own.")
    module, _, kind = place.partition(":")
    tables = TaskTables(task, budget, bounds, files, cache, wanted, folder)
    return cast(Task, getattr(import_module(module), kind).open(tables))


def has_test_split(task: Mapping[str, Any]) -> bool:
    """Has a task of this kind a sealed test split? `task`: the table `[task]`."""
    return task.get("name") != "script"


def self_reported(task: Mapping[str, Any], objectives: Collection[str] = ()) -> dict[str, str]:
    """Return the objectives that are a candidate's own claim, each with the reason. `task`: the table `[task]`.

    `objectives`: those of the run; the metrics of a script count whether they are among them or not.
    """
    if task.get("name") == "script":
        from sandbox.tasks.script.task import REASON

        return dict.fromkeys(task["metrics"], REASON)
    claimed = CLAIMED if task.get("name", IMAGES) == IMAGES else {}
    return {name: reason for name, reason in claimed.items() if name in objectives}
