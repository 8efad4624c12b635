"""Open runs for the commands that read them."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path

from agent.journal.store import Journal
from agent.review.facts import Facts
from agent.review.status import status
from agent.run.folder import RunFolder, is_locked


def find_run(path: Path) -> RunFolder:
    """Return the folder of the run at `path`. Raises UserError if there is none."""
    folder = RunFolder(path)
    folder.check_exists()
    return folder


def open_journal(folder: RunFolder) -> closing[Journal]:
    """Open the run's journal to read from, for a process that ends after it has shown what it read.

    Turns garbage collection off: it would take a quarter of the time, and find nothing before the process ends.
    """
    gc.disable()
    return closing(Journal(folder.journal, read_only=True))


def read_status(folder: RunFolder) -> Facts:
    """The status of a run, whether a process works on it or not. Raises MachineError if the journal cannot be read."""
    with closing(Journal(folder.journal, read_only=True)) as journal:
        return status(journal, folder.name, alive=is_locked(folder.lock))


def save_report(folder: RunFolder) -> None:
    """Write the report's two files into the run folder. Raises OSError or MachineError."""
    from agent.review.report import write_report

    with closing(Journal(folder.journal, read_only=True)) as journal:
        write_report(journal, folder.name, folder.report, folder.report_markdown, alive=is_locked(folder.lock))
