"""The tables `[task]` and `[budget]` of a script, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.sandbox import TaskError
from sandbox.tasks.common.settings import SIZES, UNITS, quantity, refuse_unknown
from sandbox.tasks.script.command import ScriptCommand
from sandbox.tasks.script.project import MAX_BYTES

MEASURED = ("train_time", "memory")
"""The quantities measured outside for every script; its own metrics must have other names."""
_KEYS = ("name", "title", "command", "metrics", "copy", "leave_out", "readable", "pythonpath", "snapshot")


@dataclass(frozen=True)
class ScriptSettings:
    """The settings of one task."""

    title: str
    text: str
    """The command line as given."""
    command: ScriptCommand
    metrics: Mapping[str, str]
    """`max` or `min` by the name of the metric."""
    copy: int
    """Largest size in bytes of the project's copy."""
    leave_out: tuple[str, ...]
    readable: tuple[str, ...]
    """Files or folders of the project that are not copied but can be read in place."""
    pythonpath: tuple[str, ...]
    """Folders of the project from which modules are imported, besides the script's own folder."""
    seconds: float
    memory: int

    @classmethod
    def read(cls, task: Mapping[str, Any], budget: Mapping[str, Any]) -> ScriptSettings:
        """Parse the tables. Raises TaskError, one sentence."""
        refuse_unknown("task", task, _KEYS)
        refuse_unknown("budget", budget, ("time_limit", "memory"))
        if not isinstance(task.get("command"), str):
            raise TaskError('task.command is missing: say how the script is run, such as command = "python train.py".')
        metrics = task.get("metrics")
        if not isinstance(metrics, Mapping) or not metrics or any(way not in ("max", "min") for way in metrics.values()):
            raise TaskError('task.metrics is missing: name what the script prints, such as metrics = {val_loss = "min"}.')
        if clash := sorted(set(MEASURED) & metrics.keys()):
            remedy = "leave it out, or let the script print its own under another name"
            raise TaskError(f"task.metrics: {clash[0]} is measured in any case, outside of the script: {remedy}.")
        lists = {key: task.get(key, []) for key in ("leave_out", "readable", "pythonpath")}
        for key, listed in lists.items():
            if not isinstance(listed, list | tuple) or not all(isinstance(item, str) and item for item in listed):
                raise TaskError(f"task.{key} must be a list of names in the project's folder.")
        command = ScriptCommand.parse(task["command"])
        wanted = " and ".join(f"{name} ({'more' if way == 'max' else 'less'} is better)" for name, way in metrics.items())
        return cls(
            title=str(task.get("title") or f"Improve what the program `{command.target}` reports: {wanted}."),
            text=task["command"],
            command=command,
            metrics=dict(metrics),
            copy=int(quantity(task, "copy", f"{MAX_BYTES >> 20}MiB", SIZES, "task")),
            leave_out=tuple(lists["leave_out"]),
            readable=tuple(lists["readable"]),
            pythonpath=(*command.pythonpath, *lists["pythonpath"]),
            seconds=quantity(budget, "time_limit", "10min", UNITS),
            memory=int(quantity(budget, "memory", "4GiB", SIZES)),
        )
