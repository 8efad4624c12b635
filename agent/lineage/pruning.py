"""Move the branches of a run that nobody needs to see out of the list of branches, or back; no commit is lost by it.

What is moved stands under `refs/evolve/<run>/`, where failures are. git finds `evolve/<run>/<id>` there too (gitrevisions), so
the name of a branch leads to its commit as before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.lineage.commits import update_references

if TYPE_CHECKING:
    from agent.lineage.repository import RunRepository


@dataclass(frozen=True)
class Pruned:
    """What became of the branches of a run, by ids in the order of the run."""

    kept: tuple[str, ...]
    """Branches that were to stay, and do."""
    moved: tuple[str, ...]
    """Branches that were moved out of the list now."""
    restored: tuple[str, ...]
    """Of `kept`: those that had been moved earlier, and are branches again."""
    aside: tuple[str, ...]
    """All that stand under `refs/evolve/` now."""
    left: Mapping[str, str]
    """Branches that were to be moved and are not: the reason by id."""


def prune_branches(repository: RunRepository, run: str, commits: Mapping[str, str], keep: Collection[str]) -> Pruned:
    """All references change, or none. `commits`: the hash that the run wrote for each individual, by id; `keep`: ids.

    A branch that is checked out somewhere, or that the user has added commits to, is left alone. Raises git.GitError and OSError.
    """
    heads, folder = f"refs/heads/evolve/{run}", f"refs/evolve/{run}"
    there = _references(repository, heads, folder)
    found: dict[str, list[str]] = {"kept": [], "moved": [], "restored": [], "aside": []}
    left: dict[str, str] = {}
    commands = []
    for id, commit in commits.items():
        branch, aside = f"{heads}/{id}", f"{folder}/{id}"
        (tip, work_tree), (kept, _) = there.get(branch, ("", "")), there.get(aside, ("", ""))
        if id in keep:
            if not tip and kept == commit:
                commands.append(f"create {branch} {commit}\n")
                found["restored"].append(id)
            if kept == commit and tip in ("", commit):  # of two references with one short name, git would warn
                commands.append(f"delete {aside} {commit}\n")
            found["kept"] += [id] if tip or kept == commit else []
            continue
        if tip and (why := _in_the_way(tip, work_tree, kept, commit)):
            left[id] = why
        elif tip:
            commands += [] if kept else [f"create {aside} {commit}\n"]
            commands.append(f"delete {branch} {commit}\n")
            found["moved"].append(id)
        found["aside"] += [id] if id not in left and (tip or kept) else []
    if commands:
        update_references(repository, "".join(commands), [heads, folder])
    return Pruned(**{name: tuple(ids) for name, ids in found.items()}, left=left)


def _in_the_way(tip: str, work_tree: str, aside: str, commit: str) -> str:
    """Why a branch is left where it is; empty if it can be moved."""
    if tip != commit:
        return "it holds other commits than the run made"
    if work_tree:
        return f"it is checked out in {work_tree}"
    return "its place under refs/evolve/ holds another commit" if aside not in ("", commit) else ""


def _references(repository: RunRepository, *folders: str) -> dict[str, tuple[str, str]]:
    """(hash, the work tree in which it is checked out or nothing) by full name."""
    lines = repository.run("for-each-ref", "--format=%(objectname) %(refname) %(worktreepath)", *folders).splitlines()
    rows = (line.split(" ", 2) for line in lines)
    return {name: (sha, path[0] if path else "") for sha, name, *path in rows}
