"""One git branch for each individual, by plumbing only: the user's HEAD, index, work tree and config stay untouched.

In the seed's own repository if it has one, else in one inside the run folder. Failures that parsed are kept under
`refs/evolve/`, outside of the branch list.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.core.errors import MachineError, UserError
from agent.lineage.git import run, succeeds, told
from agent.lineage.stream import Place, Planned, Script, encoded
from agent.population.candidate import SEED_ID

if TYPE_CHECKING:
    import git

_PAUSES = (0.1, 0.4, 1.5, 4.0, 6.0)
"""Seconds between two tries to get a lock."""
_STALE = 10.0
"""Seconds after which a lock is nobody's: git holds one for milliseconds."""
OWN_REPOSITORY = "lineage.git"
"""In the run folder, where the seed lies in no repository."""


@dataclass(frozen=True)
class Commit:
    branch: str
    sha: str


class Lineage:
    """The branches of one run."""

    def __init__(self, repository: git.Repo | Path, prefix: str, run: str, base: str | None) -> None:
        """`repository`: the user's, or the path of the run's own, which is made with its first commit.

        `prefix`: where the seed's folder lies in the repository; `base`: the commit that the seed's is put upon.
        """
        self._place, self._prefix, self._run, self._base = repository, prefix, run, base
        self._opening = threading.Lock()

    @classmethod
    def open(cls, seed_folder: Path, run_folder: Path, name: str) -> Lineage:
        """Raises UserError for what the user can repair. Creates nothing in a repository that exists."""
        own = run_folder / OWN_REPOSITORY
        try:
            import git
        except ImportError as error:  # what GitPython makes of a missing executable
            raise UserError(
                f"git is not installed, or not in PATH: install it ({str(error).splitlines()[0]})"
            ) from None

        try:
            repository = git.Repo(seed_folder.resolve(), search_parent_directories=True)
            top = Path(run(repository, "rev-parse", "--show-toplevel")).resolve()
            prefix = seed_folder.resolve().relative_to(top).as_posix()
            ignored = succeeds(repository, "check-ignore", "-q", str(seed_folder.resolve()))
            if not ignored and not own.exists():  # a run that began in its own goes on there
                base = repository.head.commit.hexsha if repository.head.is_valid() else None
                return cls(repository, "" if prefix == "." else prefix, name, base)
        except git.GitCommandError as error:
            if "safe.directory" in error.stderr:
                raise UserError(
                    f"git does not trust the repository of {seed_folder}, which belongs to another user: "
                    f"git config --global --add safe.directory '{repository.working_dir}'"
                ) from None
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, ValueError):
            pass  # no repository, or one that has no work tree here: the run gets its own
        return cls(own, "", name, None)

    @property
    def _repository(self) -> git.Repo:
        import git

        with self._opening:
            if isinstance(self._place, Path):  # where there is one, or half of one, git finishes it
                self._place = git.Repo.init(self._place, bare=True, initial_branch="main")
            return self._place

    def check(self) -> None:
        """Raises UserError if the branches of this run could not be created. Writes nothing."""
        import git

        try:
            git.Git().execute(["git", "check-ref-format", f"refs/heads/{self.branch(SEED_ID)}"])
        except git.GitCommandError:
            raise UserError(
                f"The run's name {self._run!r} cannot be part of a branch name: choose another --out."
            ) from None
        if isinstance(self._place, Path):
            return
        for branch in ("evolve", f"evolve/{self._run}"):
            if f"refs/heads/{branch}" in self._references(f"refs/heads/{branch}"):
                raise UserError(f"A branch named {branch} is in the way of {self.branch('...')}: rename it.")
        if earlier := self.earlier():
            raise UserError(
                f"The repository has branches of an earlier run {self._run!r}, such as "
                f"{earlier[0].removeprefix('refs/heads/')}: choose another --out, or delete them: "
                f"git for-each-ref --format='delete %(refname)' {' '.join(self._places)} | git update-ref --stdin"
            )

    def earlier(self) -> list[str]:
        """References of a run of this name that exist already."""
        return [] if isinstance(self._place, Path) else [name for place in self._places for name in self._references(place)]

    @property
    def _places(self) -> tuple[str, str]:
        return f"refs/heads/evolve/{self._run}", f"refs/evolve/{self._run}"

    def _references(self, place: str) -> list[str]:
        """The one named so, and those under a folder named so."""
        return self._git("for-each-ref", "--format=%(refname)", place).splitlines()

    def branch(self, id: str) -> str:
        return f"evolve/{self._run}/{id}"

    def commit(
        self, id: str, files: Mapping[str, str], parents: Sequence[str], message: str, *, failed: bool = False
    ) -> Commit:
        """One commit by itself, see `commit_all`."""
        (commit,) = self.commit_all([Planned(id, files, parents, message, failed)])
        return commit

    def commit_all(self, planned: Sequence[Planned]) -> list[Commit]:
        """Writes each commit and its branch; one that is there already (after a crash) is accepted if it is the same.

        May be called from several threads. Raises MachineError; some of the commits may be there then.
        """
        import git

        names = {p.id: self._reference(p) for p in planned}
        what = names[planned[0].id] + (f" and {len(planned) - 1} more" if len(planned) > 1 else "")
        try:
            shas = self._import(planned, names)
        except git.GitError as error:
            raise MachineError(f"git cannot write {what}: {told(error)}") from error
        except OSError as error:
            raise MachineError(f"git cannot write {what}: {error}") from error
        return [Commit(names[p.id].removeprefix("refs/heads/"), shas[p.id]) for p in planned]

    def _reference(self, planned: Planned) -> str:
        return f"refs/evolve/{self._run}/{planned.id}" if planned.failed else f"refs/heads/{self.branch(planned.id)}"

    def _import(self, planned: Sequence[Planned], names: Mapping[str, str]) -> dict[str, str]:
        """The commit of each by its id."""

        standing = self._standing(list(names.values()))
        script = Script(f"{int(time.time())} {time.strftime('%z')}")
        shas: dict[str, str] = {}
        marks: dict[str, str] = {}
        for one in planned:
            parents = [shas.get(parent, marks.get(parent, parent)) for parent in one.parents]
            onto = parents or ([self._base] if self._base else [])
            if there := standing.get(names[one.id]):
                if not self._same(there, one, onto):
                    raise MachineError(f"The branch {names[one.id]} exists with another content.")
                shas[one.id] = there[0]
            else:
                marks[one.id] = script.add(one, onto, {name: self._place_of(name) for name in one.files})
        if marks:
            numbered = self._objects(script)
            fresh = {id: numbered[mark] for id, mark in marks.items()}
            # All or none; and if this process is killed meanwhile, parents are there before their children.
            created = "".join(f"create {names[id]} {sha}\n" for id, sha in fresh.items())
            self._create(created)
            shas |= fresh
        return shas

    def _create(self, commands: str) -> None:
        """All references or none. Another git may hold a lock for a moment; one that was killed holds it for ever."""
        import git

        for pause in _PAUSES:
            try:
                self._git("update-ref", "--stdin", given=commands.encode())
                return
            except git.GitCommandError as error:
                if ".lock" not in str(error.stderr):
                    raise
            time.sleep(pause)
            self._forget_locks()
        self._git("update-ref", "--stdin", given=commands.encode())

    def _forget_locks(self) -> None:
        """Those on this run's own references that are too old to be anybody's: only one process works on a run."""
        common = Path(self._repository.common_dir)
        for place in self._places:
            for lock in (common / place).glob("*.lock"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - lock.stat().st_mtime > _STALE:
                        lock.unlink()

    def _objects(self, script: Script) -> dict[str, str]:
        """Writes them; the commits by their marks."""
        import git

        with tempfile.TemporaryDirectory(prefix="evolve-lineage-") as scratch:
            marks = Path(scratch) / "marks"
            try:
                self._git("fast-import", "--quiet", f"--export-marks={marks}", given=script.text())
            except git.GitCommandError as error:
                # It leaves a report in the repository; what that says is in the error too.
                if report := re.search(r"fast_import_crash_\d+", str(error.stderr)):
                    (Path(self._repository.git_dir) / report[0]).unlink(missing_ok=True)
                raise
            return dict(line.split() for line in marks.read_text().splitlines())

    def _standing(self, references: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """(commit, its parents ...) by name of those references that exist."""
        listed = self._git("cat-file", "--batch-check=%(objectname) %(objecttype)", given="\n".join(references).encode())
        shas = [line.split() for line in listed.splitlines()]
        there = {name: said[0] for name, said in zip(references, shas, strict=True) if said[1] == "commit"}
        return {name: (sha, *self._git("rev-list", "--parents", "-1", sha).split()[1:]) for name, sha in there.items()}

    def _same(self, there: Sequence[str], planned: Planned, onto: Sequence[str]) -> bool:
        """Has the commit these parents, and their tree with these files in it?"""
        sha, *parents = there
        if parents != list(onto):
            return False
        places = {self._place_of(name).path: encoded(text) for name, text in planned.files.items()}
        rest = ("diff-tree", "-r", "-z", "--name-only", onto[0]) if onto else ("ls-tree", "-r", "-z", "--name-only")
        changed = set(self._git(*rest, sha).split("\0")) - {""}
        listed = (entry.partition("\t") for entry in self._git("ls-tree", "-r", "-z", "--full-tree", sha).split("\0"))
        blobs = {path: told_blob.split()[2] for told_blob, _, path in listed if path in places}
        algorithm = "sha1" if len(sha) == 40 else "sha256"
        wanted = {p: hashlib.new(algorithm, b"blob %d\0" % len(data) + data).hexdigest() for p, data in places.items()}
        return changed <= places.keys() and blobs == wanted

    def _place_of(self, name: str) -> Place:
        path = f"{self._prefix}/{name}" if self._prefix else name
        return Place(path, "100755" if path in self._executable else "100644")

    @cached_property
    def _executable(self) -> frozenset[str]:
        """Paths of the base."""
        if not self._base:
            return frozenset()
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", self._base).split("\0")
        return frozenset(path for said, _, path in (entry.partition("\t") for entry in listed) if said.startswith("100755 "))

    def pack(self, commits: Sequence[str]) -> None:
        """Gathers the loose objects of these commits into one pack, and all loose references into one file.

        As `git gc` would, but without a walk through the user's history. What is in the way (a lock, a full disk) is left for
        the next time: nothing depends on it.
        """
        import git

        with contextlib.suppress(git.GitError, OSError):
            objects = Path(self._git("rev-parse", "--git-path", "objects"))
            place = Path(self._repository.working_dir, objects) / "pack" / "pack"
            tips = [*commits, *([f"^{self._base}"] if self._base else [])]
            flags = ("--revs", "--unpacked", "--incremental", "--local", "--non-empty", "--delta-base-offset", "-q")
            self._git("pack-objects", *flags, str(place), given="\n".join(tips).encode())
            self._git("prune-packed", "-q")
            some = self._repository.git.version_info >= (2, 42)
            patterns = [flag for place in self._places for flag in ("--include", f"{place}/*")]
            self._git("pack-refs", *(patterns if some else ["--all"]))

    def _git(self, *arguments: str, given: bytes = b"") -> str:
        return run(self._repository, *arguments, given=given)
