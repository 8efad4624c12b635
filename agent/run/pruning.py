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
from agent.lineage import Commit, Lineage, Pruned
from agent.population import selection
from agent.population.candidate import SEED_ID
from agent.run.folder import RunFolder, locked


@dataclass(frozen=True)
class Pruning:
    """What became of the branches of a run, and how git is called to look at them."""

    front: tuple[str, ...]
    """Ids of the front."""
    prefix: str
    """Of the names of the run's branches: `evolve/<run>`, with the name that the folder had then."""
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
        written = _individuals(journal)
        if SEED_ID not in written:
            raise UserError(f"{folder.root} has no branches: its seed was never trained.")
        front = front_of(journal)
        keep = written.keys() if undo else {SEED_ID, *_with_ancestors(front, _parents(journal))}
        prefix = written[SEED_ID].branch.rpartition("/")[0]
        lineage = Lineage.open(Path(config_of(journal)["seed"]["folder"]), folder.root, prefix.rpartition("/")[2])
        commits = {id: commit.sha for id, commit in written.items()}
        return Pruning(front, prefix, lineage.prune(commits, keep), lineage.place)


def front_of(journal: Journal) -> tuple[str, ...]:
    """Ids of the front, in the order in which they settled."""
    leading = [one for one in measured(journal) if not one.fault]
    return tuple(one.id for one in selection.front(leading, objectives_of(journal)))


def _individuals(journal: Journal) -> dict[str, Commit]:
    """The commit of each individual, by id; failures never were branches."""
    rows = ((key, Commit(data["branch"], data["commit"])) for _, _, key, data in journal.events("committed"))
    return {key: commit for key, commit in rows if not commit.branch.startswith("refs/")}


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
