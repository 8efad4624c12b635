"""What a run tells its user before the search begins: about the data, and about a seed that has learned nothing."""

from __future__ import annotations

from agent.core.objectives import Fitness
from agent.journal.events import Advised, Told, Watch
from sandbox.tasks import Task


def tell_of_data(task: Task, watch: Watch) -> None:
    for remark in task.remarks:
        watch(Told(remark))
    for doubt in task.doubts:
        watch(Advised(doubt))


def doubt_seed(task: Task, seed: Fitness, watch: Watch) -> None:
    """Say so if the seed is at the level of chance."""
    for name, floor in task.floors.items():
        if name in seed.values and seed[name] <= floor:
            watch(
                Advised(
                    f"The seed has learned next to nothing: its {name} is {seed[name]:.4g}, and {floor:.4g} may come without "
                    "learning. Give it longer trainings, or look at its data and its program."
                )
            )
