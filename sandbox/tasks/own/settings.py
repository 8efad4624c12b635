"""The tables `[task]` and `[budget]` of a seed's own task, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.data.secret import KEY as SECRET
from sandbox.sandbox import TaskError
from sandbox.tasks.common.settings import SIZES, UNITS, quantity, refuse_unknown
from sandbox.tasks.common.task import TaskTables


@dataclass(frozen=True)
class OwnTaskSettings:
    """The settings of one task."""

    entry: str
    """The file of the seed that `task.py` gets as `module`."""
    seconds: float
    memory: int
    budget: Mapping[str, Any]
    """Passed to `fit`: all of `[budget]` except its limits."""
    max_parameters: float | None

    @classmethod
    def read(cls, tables: TaskTables) -> OwnTaskSettings:
        """Parse the tables. Raises TaskError, one sentence."""
        task, budget, files = tables.task, tables.budget, tables.files
        refuse_unknown("task", task, ("name", "entry", SECRET))
        entry = task.get("entry", files[0])
        if entry not in files:
            raise TaskError(f"task.entry: {entry} is not among the seed's files ({', '.join(files)}).")
        if task["name"] in files:
            raise TaskError(f"task.name: {task['name']} measures the seed's files and cannot be one of them.")
        own = {key: value for key, value in budget.items() if key not in ("time_limit", "memory")}
        for key, value in own.items():
            if not key.isidentifier() or not isinstance(value, bool | int | float | str):
                raise TaskError(f"budget.{key} = {value!r}: task.py gets numbers and texts under names.")
        seconds = quantity(budget, "time_limit", "120s", UNITS)
        return cls(entry, seconds, int(quantity(budget, "memory", "4GiB", SIZES)), own, tables.bounds.get("parameters"))
