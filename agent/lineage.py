"""One git branch for each individual, by plumbing only: the user's HEAD, index, work tree and config stay untouched.

In the seed's own repository if it has one, else in one inside the run folder. Failures that parsed are kept under
`refs/evolve/`, outside of the branch list.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import MachineError, UserError
from agent.fitness import Objective
from agent.individual import SEED_ID, Failure, Individual

if TYPE_CHECKING:
    import git

_NAME, _EMAIL = "Guided Evolution", "evolve@localhost"
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", _NAME), ("EMAIL", _EMAIL))
}
OWN_REPOSITORY = "lineage.git"
"""In the run folder, where the seed lies in no repository."""
_NEW = "0" * 40
"""As the old value of a reference: it must not exist yet."""


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

    @classmethod
    def open(cls, seed_folder: Path, run_folder: Path, run: str) -> Lineage:
        """Raises UserError for what the user can mend. Creates nothing in a repository that exists."""
        import git

        try:
            repository = git.Repo(seed_folder, search_parent_directories=True)
            top = Path(repository.git.rev_parse("--show-toplevel")).resolve()
            prefix = seed_folder.resolve().relative_to(top).as_posix()
            ignored = _succeeds(repository, "check-ignore", "-q", str(seed_folder.resolve()))
            if not ignored:
                base = repository.head.commit.hexsha if repository.head.is_valid() else None
                return cls(repository, "" if prefix == "." else prefix, run, base)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError, git.GitCommandError, ValueError):
            pass  # no repository, or one that has no work tree here: the run gets its own
        return cls(run_folder / OWN_REPOSITORY, "", run, None)

    @property
    def _repository(self) -> git.Repo:
        import git

        if isinstance(self._place, Path):
            new = not self._place.exists()
            self._place = git.Repo.init(self._place, bare=True, initial_branch="main") if new else git.Repo(self._place)
        return self._place

    def check(self) -> None:
        """Raises UserError if the branches of this run could not be created. Writes nothing."""
        import git

        try:
            git.Git().execute(["git", "check-ref-format", f"refs/heads/{self.branch(SEED_ID)}"])
        except git.GitCommandError:
            raise UserError(f"The run's name {self._run!r} cannot be part of a branch name: choose another --out.") from None
        if isinstance(self._place, Path):
            return
        for branch in self._branches("evolve") + self._branches(f"evolve/{self._run}"):
            if branch in ("evolve", f"evolve/{self._run}"):
                raise UserError(f"A branch named {branch} is in the way of {self.branch('...')}: rename it.")
        if earlier := self.earlier():
            raise UserError(
                f"The repository has branches of an earlier run {self._run!r}, such as {earlier[0]}: choose another --out, "
                f"or delete them: git branch --list 'evolve/{self._run}/*' --format='%(refname:short)' | xargs git branch -D"
            )

    def earlier(self) -> list[str]:
        """Branches of a run of this name that exist already."""
        if isinstance(self._place, Path):
            return []
        return [b for b in self._branches(f"evolve/{self._run}") if b.startswith(f"evolve/{self._run}/")]

    def _branches(self, prefix: str) -> list[str]:
        return list(self._repository.git.for_each_ref("--format=%(refname:short)", f"refs/heads/{prefix}").splitlines())

    def branch(self, id: str) -> str:
        return f"evolve/{self._run}/{id}"

    def commit(self, id: str, files: Mapping[str, str], parents: Sequence[str], message: str, *, failed: bool = False) -> Commit:
        """Writes one commit and its branch; the same one again (after a crash) is accepted. Raises MachineError."""
        import git

        branch = f"refs/evolve/{self._run}/{id}" if failed else f"refs/heads/{self.branch(id)}"
        onto = list(parents) or ([self._base] if self._base else [])
        try:
            tree = self._tree(files, onto[0] if onto else None)
            standing = self._repository.git.for_each_ref(branch, "--format=%(objectname) %(tree) %(parent)").split()
            if standing:
                if standing[1] == tree and standing[2:] == onto:
                    return Commit(branch.removeprefix("refs/heads/"), standing[0])
                raise MachineError(f"The branch {branch} exists with another content.")
            with self._repository.git.custom_environment(**_IDENTITY):
                flags = [flag for parent in onto for flag in ("-p", parent)]
                sha = self._repository.git.commit_tree(tree, *flags, "-m", message)
                self._git("update-ref", branch, sha, _NEW)
        except git.GitCommandError as error:
            raise MachineError(f"git cannot write {branch}: {(error.stderr or str(error)).strip()[-300:]}") from error
        except OSError as error:
            raise MachineError(f"git cannot write {branch}: {error}") from error
        return Commit(branch.removeprefix("refs/heads/"), str(sha))

    def _tree(self, files: Mapping[str, str], onto: str | None) -> str:
        """The parent's tree with the genome's files in it, through an index of its own."""
        git = self._repository.git
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evolve-index-")))
            stack.enter_context(git.custom_environment(GIT_INDEX_FILE=str(folder / "index")))
            if onto:
                git.read_tree(onto)
            for path, text in files.items():
                source = folder / "file"
                source.write_bytes(text.encode("utf-8", "surrogatepass"))
                blob = git.hash_object("-w", "--no-filters", str(source))
                place = f"{self._prefix}/{path}" if self._prefix else path
                git.update_index("--add", "--cacheinfo", f"100644,{blob},{place}")
            return str(git.write_tree())

    def _git(self, *arguments: str) -> str:
        """Without the user's hooks: a reference-transaction hook would run on every branch."""
        return str(self._repository.git.execute(["git", "-c", "core.hooksPath=/dev/null", *arguments]))


def message(
    outcome: Individual | Failure, seed: Individual, objectives: Sequence[Objective], usd: float | None = None
) -> str:
    """What a reviewer reads first, then trailers for programs."""
    birth = outcome.birth
    what = f"{birth.operator} {', '.join(birth.blocks)}".strip()
    trailers = {"Variant": outcome.id, "Operator": birth.operator, "Block": ", ".join(birth.blocks)}
    trailers |= {"Role": birth.role or "", "Directive": birth.directive or ""}
    trailers["Model"] = ", ".join(dict.fromkeys(r.model for r in birth.recipes))
    if isinstance(outcome, Failure):
        subject, body = f"{outcome.id}: {what}: failed at {outcome.stage}", outcome.reason
    else:
        values = outcome.fitness
        subject = f"{outcome.id}: {what}: " + ", ".join(f"{o.name} {_number(values[o.name])}" for o in objectives)
        body = "" if birth.id == SEED_ID else "Against the seed: " + ", ".join(
            f"{o.name} {_number(seed.fitness[o.name])} -> {_number(values[o.name])}" for o in objectives
        )
        trailers |= {o.name.replace("_", "-").capitalize(): f"{values[o.name]:.10g}" for o in objectives}
    if usd is not None:
        trailers["Cost-USD"] = f"{usd:.6f}"
    told = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers.items() if value)
    return "\n\n".join(part for part in (subject[:200], body, told) if part)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _succeeds(repository: git.Repo, *arguments: str) -> bool:
    import git

    try:
        repository.git.execute(["git", *arguments])
    except git.GitCommandError:
        return False
    return True
