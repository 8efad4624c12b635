"""Write git notes: what is known of a commit only after it was made, such as the mean of more trainings or a verdict.

A commit cannot change, and the children of an individual are built upon its commit; a note stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.lineage.commits import import_script, update_references
from agent.lineage.fast_import import NotesScript

if TYPE_CHECKING:
    from agent.lineage.repository import RunRepository


def write_notes(repository: RunRepository, reference: str, notes: Mapping[str, str]) -> None:
    """Replace all notes under a reference by these: text by the hash of a commit. The same notes write nothing.

    Raises git.GitError and OSError.
    """
    before = repository.references(reference)
    if before and _notes_of(repository, reference) == {commit: f"{text}\n" for commit, text in notes.items()}:
        return
    script = NotesScript(f"{int(time.time())} {time.strftime('%z')}", reference if before else "")
    mark = script.add(notes)
    (commit,) = [hash for name, hash in import_script(repository, script.text()).items() if name == mark]
    update_references(repository, f"update {reference} {commit}\n", [reference])


def _notes_of(repository: RunRepository, reference: str) -> dict[str, str]:
    """Every note under a reference, by the commit that it is about."""
    pairs = [line.split() for line in repository.run("notes", f"--ref={reference}", "list").splitlines()]
    return {commit: f"{repository.run('cat-file', 'blob', blob)}\n" for blob, commit in pairs}
