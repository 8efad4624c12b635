"""Running git: no hook, no monitor, no setting of the user's has a say."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import git

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",  # else a file for each branch, with one line that says that it was made
    "fastimport.unpackLimit=10000",  # loose objects, like those of any commit: `Lineage.pack` gathers them
    "pack.threads=1",  # the other cores are for training
    "pack.writeReverseIndex=false",
)
"""Over the user's: none may run a program, leave a file in the repository or change a byte of ours."""


def run(repository: git.Repo, *arguments: str, given: bytes = b"") -> str:
    """What the command prints. `given`: its standard input. Raises git.GitCommandError."""
    settings = [flag for setting in _SETTINGS for flag in ("-c", setting)]
    with tempfile.TemporaryFile(prefix="evolve-lineage-") as stdin:  # a pipe could fill while git waits for its reader
        stdin.write(given)
        stdin.seek(0)
        # A session of its own: a Ctrl-C on the terminal is meant for the run, which finishes what it writes.
        return str(repository.git.execute(["git", *settings, *arguments], istream=stdin, start_new_session=True))


def succeeds(repository: git.Repo, *arguments: str) -> bool:
    import git

    try:
        run(repository, *arguments)
    except git.GitCommandError:
        return False
    return True


def told(error: Exception) -> str:
    """What git said, on one line."""
    said = " ".join(str(getattr(error, "stderr", "") or error).split())
    return said.removeprefix("stderr: ").strip("'")[:300]
