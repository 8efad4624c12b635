"""Run git commands so that no hook, monitor or setting of the user can influence them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "core.safecrlf=false",  # a file with mixed line ends is stored too
    "core.logAllRefUpdates=false",  # else git writes a log file of one line for each branch
    "fastimport.unpackLimit=10000",  # write loose objects, as other commits do: `Lineage.pack` packs them
    "pack.threads=1",  # the other cores are for training
    "pack.writeReverseIndex=false",
)
"""Override the user's settings: git runs no other program, leaves no other file and refuses no text of ours."""
_ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",  # a repository may say that its missing objects are to be had elsewhere, through a program
    "GIT_ALLOW_PROTOCOL": "none",  # the same for versions before 2.44: git reaches nothing, by whatever helper
    "GIT_TERMINAL_PROMPT": "0",
}
"""Overrides what the repository's configuration and the user's environment say of the network."""


def without_git() -> str:
    """Why no git command can be run at all, one sentence; empty if one can."""
    try:
        import git  # noqa: F401  # runs `git version`
    except ImportError as error:
        if shutil.which("git") is None:
            return "git is not installed, or not in PATH: install it, every individual becomes a branch."
        tried = subprocess.run(["git", "version"], capture_output=True, text=True, errors="replace", check=False)
        return f"git does not work: {' '.join(tried.stderr.split())[:300] or str(error).splitlines()[0]}"
    return ""


def run_git(repository: git.Repo, *arguments: str, stdin: bytes = b"", objects: str = "") -> str:
    """Run a command and return its output. `objects`: a folder that it writes objects into instead.

    Raises git.GitCommandError.
    """
    # A repository without a work tree is the run's own. It is named, because `safe.bareRepository` may forbid git to find it.
    where = [f"--git-dir={repository.git_dir}"] if repository.bare else []
    settings = [flag for setting in _SETTINGS for flag in ("-c", setting)]
    # Input comes from a file, because a pipe could fill up and block both sides.
    with tempfile.TemporaryFile(prefix="evolve-lineage-") as file:
        file.write(stdin)
        file.seek(0)
        # In its own session, so that Ctrl-C on the terminal reaches only the run, which finishes writing first.
        command = ["git", "--no-pager", *where, *settings, *arguments]
        environment = {**_ENVIRONMENT, **({"GIT_OBJECT_DIRECTORY": objects} if objects else {})}
        return str(repository.git.execute(command, istream=file, env=environment, start_new_session=True))


def is_branch_name(name: str) -> bool:
    """Whether a branch may have this name. Looks at no repository."""
    import git

    try:
        git.Git("/").execute(["git", "--no-pager", "check-ref-format", f"refs/heads/{name}"], env=_ENVIRONMENT)
    except git.GitCommandError:
        return False
    return True


def make_bare(path: Path) -> None:
    """Make a repository without a work tree at `path`, or complete one. Raises git.GitCommandError."""
    import git

    # By its name: what the user's settings and environment say of other repositories does not matter.
    command = ["git", f"--git-dir={path}", "init", "-q", "--bare", "--initial-branch=main", "--template="]
    git.Git(path).execute(command, env=_ENVIRONMENT)


def git_succeeds(repository: git.Repo, *arguments: str) -> bool:
    """Run a command and return whether it ended with exit code 0."""
    import git

    try:
        run_git(repository, *arguments)
    except git.GitCommandError:
        return False
    return True


def error_text(error: Exception) -> str:
    """What git printed about the error, as one line of at most 300 characters."""
    text = " ".join(str(getattr(error, "stderr", "") or error).split())
    return text.removeprefix("stderr: ").strip("'")[:300]
