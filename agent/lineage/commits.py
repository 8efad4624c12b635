"""Write commits and their references into a repository: either all references of a batch or none."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.core.errors import MachineError
from agent.lineage.fast_import import FastImportScript, PlannedCommit
from agent.lineage.repository import RunRepository
from agent.lineage.stored import blob_hash
from sandbox.launch import temporary

_PAUSES = (0.1, 0.4, 1.5, 4.0, 6.0)
"""Seconds to wait after each failed try to get a lock."""
_STALE = 10.0
"""Seconds after which a lock belongs to no living process: git holds one for milliseconds."""


def write_commits(
    repository: RunRepository, planned: Sequence[PlannedCommit], references: Mapping[str, str], folders: Sequence[str]
) -> dict[str, str]:
    """Write each commit and its reference. A reference that exists already, as after a crash, must have the same content.

    `references`: full name by id of the planned commit; `folders`: the references that belong to this run alone.
    Returns the hashes by id. Raises MachineError for a reference with another content, git.GitError and OSError.
    """
    existing = _existing(repository, list(references.values()))
    script = FastImportScript(f"{int(time.time())} {time.strftime('%z')}")
    hashes: dict[str, str] = {}
    marks: dict[str, str] = {}
    for one in planned:
        parents = [hashes.get(parent, marks.get(parent, parent)) for parent in one.parents]
        parents = parents or ([repository.base] if repository.base else [])
        if found := existing.get(references[one.id]):
            if not _is_same(repository, found, one, parents):
                raise MachineError(f"The branch {references[one.id]} exists with another content.")
            hashes[one.id] = found[0]
        else:
            marks[one.id] = script.add(one, parents, repository.entries(one.files))
    if marks:
        hash_by_mark = import_script(repository, script.text())
        new = {id: hash_by_mark[mark] for id, mark in marks.items()}
        # In this order: if this process is killed meanwhile, parents are there before their children.
        commands = "".join(f"create {references[id]} {hash}\n" for id, hash in new.items())
        update_references(repository, commands, folders)
        hashes |= new
    return hashes


def import_script(repository: RunRepository, script: bytes) -> dict[str, str]:
    """Write the commits of a script for `git fast-import`, without references. Returns the hashes by mark.

    Raises git.GitError and OSError.
    """
    import git

    with tempfile.TemporaryDirectory(prefix="lineage-", dir=temporary.folder()) as scratch:
        marks = Path(scratch) / "marks"
        try:
            repository.run("fast-import", "--quiet", f"--export-marks={marks}", stdin=script)
        except git.GitCommandError as error:
            # git leaves a crash report in the repository; the error has the same text.
            if report := re.search(r"fast_import_crash_\d+", str(error.stderr)):
                (Path(repository.repo.git_dir) / report[0]).unlink(missing_ok=True)
            raise
        return dict(line.split() for line in marks.read_text().splitlines())


def update_references(repository: RunRepository, commands: str, folders: Sequence[str]) -> None:
    """Write all references or none. Waits for a lock of another git process, and removes one that a killed git left behind."""
    import git

    for pause in _PAUSES:
        try:
            repository.run("update-ref", "--stdin", stdin=commands.encode())
            return
        except git.GitCommandError as error:
            if ".lock" not in str(error.stderr):
                raise
        time.sleep(pause)
        _remove_stale_locks(repository, folders)
    repository.run("update-ref", "--stdin", stdin=commands.encode())


def _remove_stale_locks(repository: RunRepository, folders: Sequence[str]) -> None:
    """Remove old locks on this run's own references; no other process works on the run."""
    common = Path(repository.repo.common_dir)
    for folder in folders:
        for lock in [common / f"{folder}.lock", *(common / folder).glob("*.lock")]:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > _STALE:
                    lock.unlink()


def _existing(repository: RunRepository, references: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """(commit, its parents ...) by name, for those references that exist."""
    names = "\n".join(references).encode()
    lines = repository.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=names).splitlines()
    found = {name: line.split() for name, line in zip(references, lines, strict=True)}
    commits = {name: answer[0] for name, answer in found.items() if answer[1] == "commit"}
    return {name: (sha, *repository.run("rev-list", "--parents", "-1", sha).split()[1:]) for name, sha in commits.items()}


def _is_same(repository: RunRepository, found: Sequence[str], planned: PlannedCommit, parents: Sequence[str]) -> bool:
    """Whether the commit has these parents, and a tree that is the first parent's with the planned files in it."""
    sha, *its_parents = found
    if its_parents != list(parents):
        return False
    wanted = {entry.path: entry.blob or blob_hash(entry.content, len(sha)) for entry in repository.entries(planned.files)}
    names_only = ("-r", "-z", "--name-only")
    listing = ("diff-tree", "--no-ext-diff", *names_only, parents[0], sha) if parents else ("ls-tree", *names_only, sha)
    changed = set(repository.run(*listing).split("\0")) - {""}
    entries = (entry.partition("\t") for entry in repository.run("ls-tree", "-r", "-z", "--full-tree", sha).split("\0"))
    blobs = {path: mode_type_hash.split()[2] for mode_type_hash, _, path in entries if path in wanted}
    return changed <= wanted.keys() and blobs == wanted
