"""One git branch for each individual of a run, by low-level commands that leave HEAD, index, work tree and config alone.

The branches go to the seed's own repository if it has one, else to one inside the run folder. Failures that parsed are
kept under `refs/evolve/`, outside the list of branches.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.core.errors import MachineError, UserError
from agent.lineage.annotations import write_notes
from agent.lineage.commits import write_commits
from agent.lineage.fast_import import PlannedCommit
from agent.lineage.git import error_text, is_branch_name
from agent.lineage.pruning import Pruned, prune_branches
from agent.lineage.rehearsal import trouble_with_git
from agent.lineage.repository import RunRepository
from agent.lineage.stored import blob_hash
from agent.lineage.surroundings import Surroundings
from agent.population.candidate import SEED_ID


@dataclass(frozen=True)
class Commit:
    """A commit that was written."""

    branch: str
    """Name of the branch; for a failure the full name of its reference."""
    sha: str


class Lineage:
    """The branches of one run. Thread-safe."""

    def __init__(self, repository: RunRepository, run: str, beside: Mapping[str, bytes] | None = None) -> None:
        """`run`: name of the run, which is a part of the names of its branches.

        `beside`: what the seed's programs need to run besides the files that evolve, by name relative to the seed's folder.
        """
        self._repository, self._run = repository, run
        self._surroundings = Surroundings.of(repository, beside or {})
        self._folders = (f"refs/heads/evolve/{run}", f"refs/evolve/{run}")
        """Folders of this run's references: for individuals, for failures."""
        self.notes_reference = f"refs/notes/evolve/{run}"
        """Of the notes on this run's commits, see `annotate`."""

    @classmethod
    def open(
        cls,
        seed_folder: Path,
        run_folder: Path,
        name: str,
        files: Sequence[str] = (),
        beside: Mapping[str, bytes] | None = None,
    ) -> Lineage:
        """`files`: names of the files that evolve; `beside`: as in the constructor.

        Raises UserError for a problem that the user can solve. Creates nothing.
        """
        repository = RunRepository.find(seed_folder, run_folder, files)
        import git

        try:
            return cls(repository, name, beside)
        except (git.GitError, OSError) as error:
            raise UserError(f"git cannot compare the files of {seed_folder} with its last commit: {error_text(error)}") from None

    @property
    def notes(self) -> list[str]:
        """What the user should know of the branches before the run, each in one sentence."""
        return [note for note in (self._repository.note, *self._surroundings.notes) if note]

    def check(self) -> None:
        """Raises UserError if the branches of this run could not be created. Writes nothing."""
        if trouble := trouble_with_git() if self._repository.is_own else self._repository.read_only():
            raise UserError(trouble)
        if not is_branch_name(self.branch(SEED_ID)):
            raise UserError(f"The run's name {self._run!r} cannot be part of a branch name: choose another --out.")
        if not self._repository.created:
            return
        for branch in ("evolve", f"evolve/{self._run}"):
            if f"refs/heads/{branch}" in self._repository.references(f"refs/heads/{branch}"):
                raise UserError(f"A branch named {branch} is in the way of {self.branch('...')}: rename it.")
        if earlier := self.earlier():
            everything = " ".join([*self._folders, self.notes_reference])
            raise UserError(
                f"The repository has branches of an earlier run {self._run!r}, such as "
                f"{earlier[0].removeprefix('refs/heads/')}: choose another --out, or delete them: "
                f"git for-each-ref --format='delete %(refname)' {everything} | git update-ref --stdin"
            )

    def earlier(self) -> list[str]:
        """Full names of the references that a run with this name has already."""
        if not self._repository.created:
            return []
        folders = (*self._folders, self.notes_reference)
        return [name for folder in folders for name in self._repository.references(folder)]

    def branch(self, id: str) -> str:
        """Name of the branch of an individual."""
        return f"evolve/{self._run}/{id}"

    def commit(self, id: str, files: Mapping[str, str], parents: Sequence[str], message: str, *, failed: bool = False) -> Commit:
        """Write a single commit, see `commit_all`."""
        (commit,) = self.commit_all([PlannedCommit(id, files, parents, message, failed)])
        return commit

    def commit_all(self, planned: Sequence[PlannedCommit]) -> list[Commit]:
        """Write each commit and its branch. A branch that exists already, as after a crash, must have the same content.

        Raises MachineError; then some commits may have been written, but none of their branches.
        """
        import git

        planned = [self._complete(one) for one in planned]
        references = {one.id: self._reference(one) for one in planned}
        what = references[planned[0].id] + (f" and {len(planned) - 1} more" if len(planned) > 1 else "")
        try:
            hashes = write_commits(self._repository, planned, references, self._folders)
        except git.GitError as error:
            raise MachineError(f"git cannot write {what}: {error_text(error)}") from error
        except OSError as error:
            raise MachineError(f"git cannot write {what}: {error}") from error
        return [Commit(references[one.id].removeprefix("refs/heads/"), hashes[one.id]) for one in planned]

    def _complete(self, planned: PlannedCommit) -> PlannedCommit:
        """The seed's commit with what its programs need besides; all other commits come upon that one."""
        if planned.id != SEED_ID or not self._surroundings.held:
            return planned
        return replace(planned, files={**self._surroundings.held, **planned.files})

    def _reference(self, planned: PlannedCommit) -> str:
        return f"refs/evolve/{self._run}/{planned.id}" if planned.failed else f"refs/heads/{self.branch(planned.id)}"

    def annotate(self, notes: Mapping[str, str]) -> None:
        """Say of commits of this run what was measured after they were made, in the place of all earlier notes.

        `notes`: text by hash. Raises MachineError.
        """
        import git

        if not notes or not self._repository.exists:
            return
        try:
            write_notes(self._repository, self.notes_reference, notes)
        except (git.GitError, OSError) as error:
            raise MachineError(f"git cannot write the notes on this run's commits: {error_text(error)}") from error

    @property
    def place(self) -> str:
        """How git is called for the repository of the branches, from anywhere: `git`, `git --git-dir=RUN/lineage.git`."""
        return f"git --git-dir={shlex.quote(str(self._repository.repo.git_dir))}" if self._repository.is_own else "git"

    def prune(self, commits: Mapping[str, str], keep: Collection[str]) -> Pruned:
        """Move the branches out of the list of branches that are not to be kept there, see `prune_branches`.

        Raises UserError if there is no repository any more, MachineError if git cannot do it.
        """
        import git

        if not self._repository.exists:
            raise UserError(f"The repository that the branches of {self._run} were written to is gone.")
        try:
            return prune_branches(self._repository, self._run, commits, keep)
        except (git.GitError, OSError) as error:
            raise MachineError(f"git cannot move the branches of {self._run}: {error_text(error)}") from error

    def holds(self, commit: str, files: Mapping[str, str]) -> bool | None:
        """Does a commit of this run hold exactly these texts? None if the repository or the commit is gone."""
        import git

        if not self._repository.exists:
            return None
        with contextlib.suppress(git.GitError, OSError):
            return all(
                self._repository.run("rev-parse", f"{commit}:{entry.path}")
                == (entry.blob or blob_hash(entry.content, len(commit)))
                for entry in self._repository.entries(files)
            )
        return None

    def pack(self, commits: Sequence[str]) -> None:
        """Pack the loose objects of these commits, and the loose references.

        `git gc` would do it too, but would walk through the user's whole history. An error (a lock, a full disk) is ignored:
        nothing depends on packing, and the next call tries again.
        """
        import git

        repository = self._repository
        with contextlib.suppress(git.GitError, OSError):
            objects = Path(repository.run("rev-parse", "--git-path", "objects"))
            pack = Path(repository.repo.working_dir, objects) / "pack" / "pack"
            tips = [*commits, *([f"^{repository.base}"] if repository.base else [])]
            flags = ("--revs", "--unpacked", "--incremental", "--local", "--non-empty", "--delta-base-offset", "-q")
            repository.run("pack-objects", *flags, str(pack), stdin="\n".join(tips).encode())
            repository.run("prune-packed", "-q")
            selective = repository.repo.git.version_info >= (2, 42)
            patterns = [flag for folder in self._folders for flag in ("--include", f"{folder}/*")]
            repository.run("pack-refs", *(patterns if selective else ["--all"]))
