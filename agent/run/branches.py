"""Where a run's branches are kept, and what they hold besides the files that evolve."""

from __future__ import annotations

from pathlib import Path

from agent.lineage import Lineage
from agent.run.config import Config
from agent.run.folder import RunFolder
from sandbox.tasks import Task


def lineage_of(config: Config, folder: RunFolder, task: Task | None = None) -> Lineage:
    """The branches of a run; without its task, to look at them only.

    Raises UserError for a problem with git that the user can solve. Creates nothing.
    """
    beside = task.files_beside() if task else None
    return Lineage.open(Path(config.seed.folder), folder.root, folder.name, config.seed.files, beside)
