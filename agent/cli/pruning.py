"""Move the branches of a run that nobody needs to see out of the list of branches, and say how to get them back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from agent.cli.console import print_wrapped, stdout_console
from agent.core.text import list_names, one_line, visible
from agent.population.candidate import SEED_ID
from agent.review.facts import Facts
from agent.run.folder import RunFolder
from agent.run.pruning import prune as prune_run


def prune(folder: RunFolder, *, undo: bool) -> Facts:
    """What `--json` prints. Raises UserError and MachineError."""
    done = prune_run(folder, undo=undo)
    branches = done.branches
    return {
        "run": folder.name,
        "branches": done.prefix,
        "front": list(done.front),
        "kept": list(branches.kept),
        "moved": list(branches.moved),
        "restored": list(branches.restored),
        "aside": list(branches.aside),
        "left": dict(branches.left),
        "git": done.git,
    }


def print_pruning(facts: Facts, run: Path) -> None:
    """What stays, what has moved, and how to get it back."""
    console = stdout_console()
    for line in _lines(facts, run):
        print_wrapped(console, Text(visible(line)))


def _lines(facts: Facts, run: Path) -> Iterator[str]:
    name, front = facts["branches"], list_names([id for id in facts["front"] if id != SEED_ID])
    aside, kept = facts["aside"], len(facts["kept"])
    if aside:
        what = f"the front ({front}), its ancestors and the seed" if front else "nothing better than the seed was found"
        yield f"Branches {name}/...: {kept} kept: {what}."
    else:
        yield f"Branches {name}/...: {kept}, none has moved." if kept else f"There are no branches {name}/... any more."
    if facts["restored"]:
        yield f"Branches again: {list_names(facts['restored'], 8)}."
    for id, reason in facts["left"].items():
        yield f"{name}/{id} stays as it is: {one_line(reason)}."
    if aside:
        earlier = f", after {len(aside) - len(facts['moved'])} before" if len(aside) > len(facts["moved"]) else ""
        yield f"Moved to refs/{name}/: {len(facts['moved'])}{earlier}. Nothing is lost; git finds them by the same names:"
        yield f"  {facts['git']} log -p --first-parent -1 {name}/{aside[-1]}"
        yield f"  {facts['git']} branch NAME {name}/{aside[-1]}    # a branch again, under a name of yours"
        yield f"  evolve prune {shlex.quote(str(run))} --undo    # all of them are branches again"
