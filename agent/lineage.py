"""One git branch for each individual, by plumbing only: the user's HEAD, index, work tree and config stay untouched.

In the seed's own repository if it has one, else in one inside the run folder. Failures that parsed are kept under
`refs/evolve/`, outside of the branch list.
"""

from __future__ import annotations

import tempfile
import textwrap
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import MachineError, UserError
from agent.fitness import Objective
from agent.individual import SEED_ID, Failure, Individual, listed
from agent.prompting import clean

if TYPE_CHECKING:
    import git

_NAME, _EMAIL = "Guided Evolution", "evolve@localhost"
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", _NAME), ("EMAIL", _EMAIL))
}
_REASON = 4000
"""Characters of a failure's reason in a commit message."""
OWN_REPOSITORY = "lineage.git"
"""In the run folder, where the seed lies in no repository."""
_NEW = "0" * 40
"""As the old value of a reference: it must not exist yet."""
_DEAF = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.splitIndex=false", "i18n.commitEncoding=UTF-8")
"""Over the user's settings: none may run a program, leave a file in the repository or change a byte of ours."""


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
    def open(cls, seed_folder: Path, run_folder: Path, run: str) -> Lineage:
        """Raises UserError for what the user can mend. Creates nothing in a repository that exists."""
        own = run_folder / OWN_REPOSITORY
        try:
            import git
        except ImportError as error:  # what GitPython makes of a missing executable
            raise UserError(
                f"git is not installed, or not in PATH: install it ({str(error).splitlines()[0]})"
            ) from None

        try:
            repository = git.Repo(seed_folder.resolve(), search_parent_directories=True)
            top = Path(_run(repository, "rev-parse", "--show-toplevel")).resolve()
            prefix = seed_folder.resolve().relative_to(top).as_posix()
            ignored = _succeeds(repository, "check-ignore", "-q", str(seed_folder.resolve()))
            if not ignored and not own.exists():  # a run that began in its own goes on there
                base = repository.head.commit.hexsha if repository.head.is_valid() else None
                return cls(repository, "" if prefix == "." else prefix, run, base)
        except git.GitCommandError as error:
            if "safe.directory" in error.stderr:
                raise UserError(
                    f"git does not trust the repository of {seed_folder}, which belongs to another user: "
                    f"git config --global --add safe.directory '{repository.working_dir}'"
                ) from None
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, ValueError):
            pass  # no repository, or one that has no work tree here: the run gets its own
        return cls(own, "", run, None)

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
        """Writes one commit and its branch; the same one again (after a crash) is accepted. Raises MachineError.

        May be called from several threads.
        """
        import git

        branch = f"refs/evolve/{self._run}/{id}" if failed else f"refs/heads/{self.branch(id)}"
        onto = list(parents) or ([self._base] if self._base else [])
        try:
            with tempfile.TemporaryDirectory(prefix="evolve-lineage-") as scratch:
                tree = self._tree(files, onto[0] if onto else None, Path(scratch))
                standing = self._git("for-each-ref", "--format=%(objectname) %(tree) %(parent)", branch).split()
                if standing:
                    if standing[1] == tree and standing[2:] == onto:
                        return Commit(branch.removeprefix("refs/heads/"), standing[0])
                    raise MachineError(f"The branch {branch} exists with another content.")
                text = Path(scratch) / "message"  # an argument of a command has a largest length
                text.write_text(message + "\n", encoding="utf-8")
                flags = [flag for parent in onto for flag in ("-p", parent)]
                sha = self._git("commit-tree", tree, *flags, "-F", str(text), **_IDENTITY)
                self._git("update-ref", branch, sha, _NEW, **_IDENTITY)  # the identity is for the log of references
        except git.GitError as error:
            raise MachineError(f"git cannot write {branch}: {_told(error)}") from error
        except OSError as error:
            raise MachineError(f"git cannot write {branch}: {error}") from error
        return Commit(branch.removeprefix("refs/heads/"), sha)

    def _tree(self, files: Mapping[str, str], onto: str | None, scratch: Path) -> str:
        """The parent's tree with the genome's files in it, through an index of its own."""
        index = {"GIT_INDEX_FILE": str(scratch / "index")}
        if onto:
            self._git("read-tree", onto, **index)
        for path, text in files.items():
            place = f"{self._prefix}/{path}" if self._prefix else path
            source = scratch / "file"
            source.write_bytes(text.encode("utf-8", "surrogatepass"))
            blob = self._git("hash-object", "-w", "--no-filters", str(source))
            executable = self._git("--literal-pathspecs", "ls-files", "-s", place, **index).startswith("100755 ")
            mode = "100755" if executable else "100644"
            self._git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{place}", **index)
        return self._git("write-tree", **index)

    def _git(self, *arguments: str, **environment: str) -> str:
        return _run(self._repository, *arguments, **environment)


def message(
    outcome: Individual | Failure, seed: Individual, objectives: Sequence[Objective], usd: float | None = None
) -> str:
    """What a reviewer reads first, then trailers for programs."""
    birth = outcome.birth
    blocks = birth.about(outcome.changed)
    what = "" if birth.id == SEED_ID else f" {birth.operator} {listed(blocks)}".rstrip() + ":"
    trailers = {"Variant": outcome.id, "Operator": birth.operator, "Block": listed(blocks)}
    trailers |= {"Role": birth.role or "", "Directive": birth.directive or ""}
    trailers["Model"] = ", ".join(dict.fromkeys(r.model for r in birth.recipes if r.model))
    if isinstance(outcome, Failure):
        subject = f"{outcome.id}:{what} failed at {outcome.stage}"
        # Indented: at the margin, a line of `---` would end the message for git and lift trailers out of the reason.
        body = textwrap.indent("\n".join(clean(outcome.reason[:_REASON]).splitlines()), "    ").rstrip()
    else:
        values = outcome.fitness
        subject = f"{outcome.id}:{what} " + ", ".join(f"{o.name} {_number(values[o.name])}" for o in objectives)
        body = (
            ""
            if birth.id == SEED_ID
            else "Against the seed: "
            + ", ".join(f"{o.name} {_number(seed.fitness[o.name])} -> {_number(values[o.name])}" for o in objectives)
        )
        trailers |= {o.name.replace("_", "-").capitalize(): f"{values[o.name]:.10g}" for o in objectives}
    reported = [o for o in objectives if o.reported]
    trailers["Self-reported"] = ", ".join(o.name for o in reported)
    warning = "\n".join(f"{o.name} is self-reported: {o.reported}." for o in reported)
    meant = f"Intention: {_line(outcome.intention)}" if outcome.intention else ""
    if usd is not None:
        trailers["Cost-USD"] = f"{usd:.6f}"
    told = "\n".join(f"{key}: {_line(value)}" for key, value in trailers.items() if value)
    return "\n\n".join(part for part in (_line(subject)[:200], meant, body, warning, told) if part)


def _line(text: str) -> str:
    return clean(" ".join(text.split()))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _told(error: Exception) -> str:
    """What git said, on one line."""
    said = " ".join(str(getattr(error, "stderr", "") or error).split())
    return said.removeprefix("stderr: ").strip("'")[:300]


def _succeeds(repository: git.Repo, *arguments: str) -> bool:
    import git

    try:
        _run(repository, *arguments)
    except git.GitCommandError:
        return False
    return True


def _run(repository: git.Repo, *arguments: str, **environment: str) -> str:
    settings = [flag for setting in _DEAF for flag in ("-c", setting)]
    # A session of its own: a Ctrl-C on the terminal is meant for the run, which finishes what it writes.
    return str(repository.git.execute(["git", *settings, *arguments], env=environment, start_new_session=True))
