"""Run git commands in a way that no hook, monitor or setting of the user can influence."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",  # else a log file for each branch, with one line that says that it was made
    "fastimport.unpackLimit=10000",  # loose objects, like those of any commit: `Lineage.pack` gathers them
    "pack.threads=1",  # the other cores are for training
    "pack.writeReverseIndex=false",
)
"""Override the user's: no program is run, no further file left in the repository, no byte of ours changed."""


def run_git(repository: git.Repo, *arguments: str, stdin: bytes = b"") -> str:
    """What the command prints. Raises git.GitCommandError."""
    settings = [flag for setting in _SETTINGS for flag in ("-c", setting)]
    # From a file: a pipe could fill while git waits for its reader.
    with tempfile.TemporaryFile(prefix="evolve-lineage-") as file:
        file.write(stdin)
        file.seek(0)
        # In a session of its own, so that Ctrl-C on the terminal ends the run, which first finishes what it writes.
        return str(repository.git.execute(["git", *settings, *arguments], istream=file, start_new_session=True))


def git_succeeds(repository: git.Repo, *arguments: str) -> bool:
    """Does the command end with exit code 0?"""
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
