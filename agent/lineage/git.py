"""Run git commands so that no hook, monitor or setting of the user can influence them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",  # else git writes a log file of one line for each branch
    "fastimport.unpackLimit=10000",  # write loose objects, as other commits do: `Lineage.pack` packs them
    "pack.threads=1",  # the other cores are for training
    "pack.writeReverseIndex=false",
)
"""Override the user's settings: git runs no other program, leaves no other file and changes no byte of our texts."""


def run_git(repository: git.Repo, *arguments: str, stdin: bytes = b"") -> str:
    """Run a command and return its output. Raises git.GitCommandError."""
    settings = [flag for setting in _SETTINGS for flag in ("-c", setting)]
    # Input comes from a file, because a pipe could fill up and block both sides.
    with tempfile.TemporaryFile(prefix="evolve-lineage-") as file:
        file.write(stdin)
        file.seek(0)
        # In its own session, so that Ctrl-C on the terminal reaches only the run, which finishes writing first.
        return str(repository.git.execute(["git", *settings, *arguments], istream=file, start_new_session=True))


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
