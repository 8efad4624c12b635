"""Find the repository for a run's branches: the one that holds the seed, else one inside the run folder."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.core.errors import UserError
from agent.lineage.fast_import import TreeEntry
from agent.lineage.git import git_succeeds, run_git

if TYPE_CHECKING:
    import git

OWN_REPOSITORY = "lineage.git"
"""Name of the repository in the run folder, which is used if the seed lies in no repository."""


class RunRepository:
    """A repository, and where the seed's files lie in it. Thread-safe."""

    def __init__(self, repository: git.Repo | Path, prefix: str = "", base: str | None = None) -> None:
        """`repository`: the user's repository, or the path of the run's own, which is created when it is first needed.

        `prefix`: path of the seed's folder in the repository; `base`: the parent of the seed's commit.
        """
        self._repository, self._prefix, self.base = repository, prefix, base
        self._lock = threading.Lock()

    @classmethod
    def find(cls, seed_folder: Path, run_folder: Path) -> RunRepository:
        """Raises UserError for a problem that the user can solve. Creates nothing."""
        own = run_folder / OWN_REPOSITORY
        try:
            import git
        except ImportError as error:  # raised by GitPython if there is no git executable
            raise UserError(f"git is not installed, or not in PATH: install it ({str(error).splitlines()[0]})") from None

        try:
            repository = git.Repo(seed_folder.resolve(), search_parent_directories=True)
            top = Path(run_git(repository, "rev-parse", "--show-toplevel")).resolve()
            prefix = seed_folder.resolve().relative_to(top).as_posix()
            ignored = git_succeeds(repository, "check-ignore", "-q", str(seed_folder.resolve()))
            if not ignored and not own.exists():  # a run that started in its own repository stays there
                base = repository.head.commit.hexsha if repository.head.is_valid() else None
                return cls(repository, "" if prefix == "." else prefix, base)
        except git.GitCommandError as error:
            if "safe.directory" in error.stderr:
                raise UserError(
                    f"git does not trust the repository of {seed_folder}, which belongs to another user: "
                    f"git config --global --add safe.directory '{repository.working_dir}'"
                ) from None
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, ValueError):
            pass  # no repository, or one that has no work tree here: the run gets its own
        return cls(own)

    @property
    def created(self) -> bool:
        """Whether the repository exists: the run's own does not before its first use."""
        return not isinstance(self._repository, Path)

    @property
    def exists(self) -> bool:
        """Whether it is on the disk, also if this process has not opened it yet."""
        return not isinstance(self._repository, Path) or self._repository.exists()

    @property
    def repo(self) -> git.Repo:
        """The repository. The run's own is created if it does not exist, or completed if its creation was interrupted."""
        import git

        with self._lock:
            if isinstance(self._repository, Path):
                self._repository = git.Repo.init(self._repository, bare=True, initial_branch="main")
            return self._repository

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a git command and return its output. Raises git.GitCommandError."""
        return run_git(self.repo, *arguments, stdin=stdin)

    def references(self, name: str) -> list[str]:
        """The reference with this full name, and those under a folder of this name."""
        return self.run("for-each-ref", "--format=%(refname)", name).splitlines()

    def tree_entry(self, file: str) -> TreeEntry:
        """The path of a seed's file in the tree, and the mode that it has in the base."""
        path = f"{self._prefix}/{file}" if self._prefix else file
        return TreeEntry(path, "100755" if path in self._executables else "100644")

    @cached_property
    def _executables(self) -> frozenset[str]:
        """Paths of executable files in the base."""
        if not self.base:
            return frozenset()
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", self.base).split("\0")
        return frozenset(path for mode, _, path in (entry.partition("\t") for entry in listed) if mode.startswith("100755 "))
