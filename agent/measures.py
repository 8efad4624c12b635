"""What a run and its task have to agree on: the objectives, and what the task must find again in a later process."""

from __future__ import annotations

from agent.config import Config
from agent.errors import UserError
from sandbox.tasks import Task


def settled(config: Config, task: Task) -> Config:
    """The configuration with the task's own objectives, if it names none, and with what the task pins.

    Raises UserError for an objective that the task does not measure, or measures for the other direction.
    """
    changes: dict[str, object] = {}
    if "objectives" not in config.model_fields_set and task.directions:
        changes["objectives"] = dict(task.directions)
    if task.pins:
        changes["task"] = {**config.task, **task.pins}
    config = config.model_copy(update=changes) if changes else config
    for table in ("objectives", "constraints"):
        for name in getattr(config, table):
            if name not in task.objectives:
                raise UserError(f"{table}.{name}: this task measures {', '.join(task.objectives)}.")
    for name, direction in config.objectives.items():
        if task.directions.get(name, direction) != direction:
            raise UserError(f'objectives.{name} = "{direction}": the task itself says "{task.directions[name]}".')
    if len(config.objectives) < 2:
        raise UserError(f"objectives: a run needs at least two; this task measures {', '.join(task.objectives)}.")
    return config
