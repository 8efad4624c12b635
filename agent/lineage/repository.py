"""Find the repository for a run's branches: the one that holds the seed, else one inside the run folder."""

from __future__ import annotations

import os
import threading
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.core.errors import UserError
from agent.lineage.fast_import import TreeEntry, encode
from agent.lineage.git import error_text, git_succeeds, make_bare, run_git, without_git
from agent.lineage.stored import RAW, StorageRule, storage_rules, stored_by_git, with_line_feeds

if TYPE_CHECKING:
    import git

OWN_REPOSITORY = "lineage.git"
"""Name of the repository in the run folder, which is used if the seed lies in no repository."""


class RunRepository:
    """A repository, and where the seed's files lie in it. Thread-safe."""

    def __init__(
        self, repository: git.Repo | Path, prefix: str = "", base: str | None = None, note: str = "", marked: Iterable[str] = ()
    ) -> None:
        """`repository`: the user's repository, or the path of the run's own, which is created when it is first needed.

        `prefix`: path of the seed's folder in the repository; `base`: the parent of the seed's commit; `note`: why it is the
        run's own although the seed lies in a repository; `marked`: names of the files whose UTF-8 begins with a mark.
        """
        self._repository, self._prefix, self.base, self.note = repository, prefix, base, note
        self._is_own = isinstance(repository, Path)
        self._marked = frozenset(marked)
        self._rules: dict[str, StorageRule] = {}
        self._lock = threading.RLock()

    @classmethod
    def find(cls, seed_folder: Path, run_folder: Path, files: Iterable[str] = ()) -> RunRepository:
        """`files`: names of the seed's files. Raises UserError for a problem that the user can solve. Creates nothing."""
        own = run_folder / OWN_REPOSITORY
        if trouble := without_git():
            raise UserError(trouble)
        import git

        folder, files = seed_folder.resolve(), list(files)
        marked = [name for name in files if _is_marked(folder / name)]
        try:
            repository = git.Repo(folder, search_parent_directories=True)
            top = Path(run_git(repository, "rev-parse", "--show-toplevel")).resolve()
            prefix = folder.relative_to(top).as_posix()
            ignored = git_succeeds(repository, "check-ignore", "-q", str(folder))
            if not ignored and not own.exists():  # a run that started in its own repository stays there
                found = cls(repository, "" if prefix == "." else prefix, _head(repository), marked=marked)
                note = found.unfit_for({name: folder / name for name in files})
                return cls(own, note=f"{note}: the branches go to {own} instead.", marked=marked) if note else found
        except git.GitCommandError as error:
            if "safe.directory" in error.stderr:
                raise UserError(
                    f"git does not trust the repository of {seed_folder}, which belongs to another user: "
                    f"git config --global --add safe.directory '{repository.working_dir}'"
                ) from None
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, ValueError):
            pass  # no repository, or one that has no work tree here: the run gets its own
        return cls(own, marked=marked)

    def unfit_for(self, files: Mapping[str, Path]) -> str:
        """Why this repository cannot hold versions of these files as `git add` would store them; empty if it can."""
        import git

        for name, rule in self.rules_of(files).items():
            if rule.filter:
                return f"{name} passes through the filter {rule.filter!r} of its repository, a program that a run does not start"
            try:
                if rule.by_git and files[name].is_file():
                    stored_by_git(self.run, self.path(name), files[name].read_bytes(), write=False)
            except (git.GitCommandError, OSError) as error:
                return f"git cannot store {name} ({error_text(error)})"
        return ""

    def read_only(self) -> str:
        """Why no branch can be written into the user's repository, as far as its permissions tell; empty if one can."""
        for part in ("objects", "refs"):
            folder = Path(self.repo.common_dir, part)
            if not os.access(folder, os.W_OK | os.X_OK):
                return f"The branches of a run cannot be written: {folder} is read-only for you."
        return ""

    @property
    def created(self) -> bool:
        """Whether the repository exists: the run's own does not before its first use."""
        return not isinstance(self._repository, Path)

    @property
    def is_own(self) -> bool:
        """Whether it is the run's own, and not the user's."""
        return self._is_own

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
                path = self._repository.resolve()
                path.mkdir(parents=True, exist_ok=True)
                make_bare(path)
                self._repository = git.Repo(path)
            return self._repository

    def run(self, *arguments: str, stdin: bytes = b"", objects: str = "") -> str:
        """Run a git command and return its output. `objects`: as in `run_git`. Raises git.GitCommandError."""
        return run_git(self.repo, *arguments, stdin=stdin, objects=objects)

    def references(self, name: str) -> list[str]:
        """The reference with this full name, and those under a folder of this name."""
        return self.run("for-each-ref", "--format=%(refname)", name).splitlines()

    @property
    def top(self) -> Path:
        """The top folder of the user's work tree."""
        return Path(self.repo.working_dir)

    def path(self, name: str) -> str:
        """The path in the tree of a file of the seed's folder."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def entries(self, files: Mapping[str, str | bytes], *, write: bool = True) -> list[TreeEntry]:
        """The files in the tree, with the mode that they have in the base, as git would store them.

        `write`: puts what git itself must store into the repository. Raises git.GitCommandError.
        """
        rules = self.rules_of(files)
        return [self._entry(self.path(name), self._bytes_of(name, text), rules[name], write) for name, text in files.items()]

    def _bytes_of(self, name: str, text: str | bytes) -> bytes:
        """The content of a file; a text begins with the mark that the seed's file begins with."""
        return BOM_UTF8 + encode(text) if isinstance(text, str) and name in self._marked else encode(text)

    def _entry(self, path: str, content: bytes, rule: StorageRule, write: bool) -> TreeEntry:
        mode = "100755" if path in self._executables else "100644"
        content = with_line_feeds(content) if rule.line_ends else content
        # A filter would be a program: `find` has refused this repository if the seed's files have one.
        by_git = rule.by_git and not rule.filter
        return TreeEntry(path, mode, content, stored_by_git(self.run, path, content, write=write) if by_git else "")

    def rules_of(self, names: Iterable[str]) -> Mapping[str, StorageRule]:
        """How each file is stored: fixed at its first use. The run's own repository has no rules."""
        names = list(names)
        if self.is_own:
            return dict.fromkeys(names, RAW)
        with self._lock:
            if new := [path for name in names if (path := self.path(name)) not in self._rules]:
                self._rules |= storage_rules(self.run, new)
            return {name: self._rules[self.path(name)] for name in names}

    @cached_property
    def _executables(self) -> frozenset[str]:
        """Paths of executable files in the base."""
        return frozenset(path for path, (mode, _) in self.tree.items() if mode == "100755")

    @cached_property
    def tree(self) -> Mapping[str, Sequence[str]]:
        """(mode, hash) of each file of the seed's folder in the base, by path."""
        if not self.base:
            return {}
        listed = self.run("ls-tree", "-r", "-z", "--full-tree", self.base, *filter(None, [self._prefix])).split("\0")
        entries = (entry.partition("\t") for entry in listed if entry)
        return {path: (facts.split()[0], facts.split()[2]) for facts, _, path in entries}


def _is_marked(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(BOM_UTF8)) == BOM_UTF8
    except OSError:
        return False


def _head(repository: git.Repo) -> str | None:
    """The commit that is checked out; None if there is none yet."""
    import git

    try:
        return run_git(repository, "rev-parse", "--verify", "-q", "HEAD^{commit}")
    except git.GitCommandError:
        return None
