"""Keep the branches of a run's front and of what it came from, and move the others out of the list of branches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import UserError
from agent.journal.header import config_of, objectives_of
from agent.journal.readings import measured
from agent.journal.store import Journal
from agent.lineage import Lineage, Pruned
from agent.population import selection
from agent.population.candidate import SEED_ID
from agent.run.folder import RunFolder, locked


@dataclass(frozen=True)
class Pruning:
    """What became of the branches of a run, and how git is called to look at them."""

    front: tuple[str, ...]
    """Ids of the front."""
    branches: Pruned
    git: str
    """See `Lineage.place`."""


def prune(folder: RunFolder, *, undo: bool = False) -> Pruning:
    """Keeps the branches of the front, of all its ancestors and of the seed. `undo`: makes all of them branches again.

    The journal stays as it is, and so do the commits: a resume goes on with them. Raises UserError if a process works on the run,
    or if it has no branches; MachineError if git cannot do it.
    """
    folder.check_exists()
    with locked(folder.lock), closing(Journal(folder.journal, read_only=True)) as journal:
        commits = _commits_of_individuals(journal)
        if not commits:
            raise UserError(f"{folder.root} has no branches: its seed was never trained.")
        front = front_of(journal)
        keep = commits.keys() if undo else {SEED_ID, *_with_ancestors(front, _parents(journal))}
        lineage = Lineage.open(Path(config_of(journal)["seed"]["folder"]), folder.root, folder.name)
        return Pruning(front, lineage.prune(commits, keep), lineage.place)


def front_of(journal: Journal) -> tuple[str, ...]:
    """Ids of the front, in the order in which they settled."""
    leading = [one for one in measured(journal) if not one.fault]
    return tuple(one.id for one in selection.front(leading, objectives_of(journal)))


def _commits_of_individuals(journal: Journal) -> dict[str, str]:
    """The hash of each individual's commit, by id; failures never were branches."""
    rows = ((key, data) for _, _, key, data in journal.events("committed"))
    return {key: str(data["commit"]) for key, data in rows if not str(data["branch"]).startswith("refs/")}


def _parents(journal: Journal) -> dict[str, tuple[str, ...]]:
    rows = journal.events("drawn")
    return {key: tuple(p for recipe in data["recipes"] for p in recipe["parents"]) for _, _, key, data in rows}


def _with_ancestors(ids: Collection[str], parents: Mapping[str, Collection[str]]) -> set[str]:
    found, left = set(), [*ids]
    while left:
        if (id := left.pop()) not in found:
            found.add(id)
            left += parents.get(id, ())
    return found
