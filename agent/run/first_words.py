"""What a run tells its user before the search begins: about the data, and about a seed that has learned nothing."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
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


def doubt_noise(noise: Noise | None, objectives: Sequence[Objective], watch: Watch) -> None:
    """Say so if what a script prints is the same to the digit in all trainings of the seed: it sets its own training seed."""
    if noise is not None and noise.seeds_itself:
        same = [one.name for one in objectives if one.reported]
        watch(
            Advised(
                f"All {noise.trainings} trainings of the seed measured the same {', '.join(same)} to the digit: if the program "
                "sets its own seed, let it be int(os.environ['EVOLVE_SEED']). As it is, no gain is told from luck, and none is "
                "given in sigma."
            )
        )
