"""Try out whether git can keep the branches of a run on this machine, before anything is spent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from agent.core.errors import MachineError, UserError
from agent.lineage.commits import write_commits
from agent.lineage.fast_import import PlannedCommit
from agent.lineage.git import error_text, without_git
from agent.lineage.repository import OWN_REPOSITORY, RunRepository


def trouble_with_git() -> str:
    """Why git cannot write the branches of a run into a repository of the run's own, one sentence; empty if it can.

    Writes a commit and its branch into a temporary folder, by the same commands as a run.
    """
    if trouble := without_git():
        return trouble
    import git

    planned = PlannedCommit("seed", {"model.py": "pass\n"}, [], "A rehearsal")
    try:
        with tempfile.TemporaryDirectory(prefix="evolve-rehearsal-") as scratch:
            repository = RunRepository(Path(scratch) / OWN_REPOSITORY)
            write_commits(repository, [planned], {"seed": "refs/heads/evolve/rehearsal/seed"}, [])
    except (git.GitError, OSError, MachineError) as error:
        return f"git cannot write the branches of a run: {error_text(error)}"
    return ""


def trouble_in(folder: Path) -> str:
    """Why a run whose seed lies in this folder would be refused by git, one sentence; empty if it would not."""
    try:
        repository = RunRepository.find(folder, folder / "no-run")
    except UserError as error:
        return str(error)
    return "" if repository.is_own else repository.read_only()
