"""Start or resume a run for the command: in the foreground with the live view, or in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from agent.cli.live import Live
from agent.cli.notify import Notifications
from agent.cli.output import print_to_stderr
from agent.cli.reading import read_status, save_report
from agent.cli.streams import give_up_output
from agent.cli.tables import print_status
from agent.core.errors import MachineError, UserError
from agent.core.paths import start_command
from agent.journal.events import Event, Notice, Watch
from agent.journal.store import Journal
from agent.review.facts import Facts
from agent.run import signals
from agent.run.folder import RunFolder, owner

_POLL_SECONDS = 0.05
"""Seconds between two checks whether the process in the background works on the run."""


def run_in_foreground(
    folder: RunFolder,
    work: Callable[[Watch], None],
    notifications: Notifications,
    show: Callable[[Facts], None] = print_status,
    *,
    confirms: bool = False,
) -> None:
    """Calls `work` with the live view; then shows the status, writes the report, says how to go on and notifies.

    `confirms`: the work is a confirmation alone.
    Raises what `work` raises, after that.
    """
    signals.outlive_the_terminal()
    fault: BaseException | None = None
    with Live(folder.name, *(["opening the run"] if folder.journal.is_file() else [])) as live:

        def watch(event: Event | Notice) -> None:
            live.see(event)
            notifications.see(folder.name, event)

        try:
            work(watch)
        except UserError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # any error is reported below, and raised again
            fault = error
    if fault and not folder.journal.is_file():
        live.print_line("Stopped before the run has started.")
        raise fault
    exit_code = 0 if fault is None else signals.INTERRUPTED if isinstance(fault, KeyboardInterrupt) else 1
    facts = None if signals.hurried() else _final_status(folder, live)
    if facts:
        try:
            show(facts)
            sys.stdout.flush()
        except OSError:  # the terminal may be closed: the run has ended as it has
            give_up_output()
        with suppress(OSError, MachineError):  # a full disk must not hide how the run ended
            save_report(folder)
    live.print_line(_next_step(folder, exit_code, "confirm" if confirms else "resume"))
    if facts:
        notifications.finish(folder.root, facts, exit_code)
    if fault:
        raise fault


def detach(folder: RunFolder, arguments: Sequence[str]) -> None:
    """Start `evolve` with these arguments in its own session; return when that process has checked the run and its models.

    If the process ends before, print its output and exit with its code.
    """
    folder.root.parent.mkdir(parents=True, exist_ok=True)
    checks = _checks(folder)
    descriptor, log = tempfile.mkstemp(prefix=f".{folder.name}-", suffix=".log", dir=folder.root.parent)
    with open(descriptor, "r+") as file:
        command = start_command("agent.cli.main", *arguments)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        print_to_stderr("Waiting until it has checked the settings, the seed and the models ...")
        try:
            while process.poll() is None and (owner(folder.lock) != process.pid or _checks(folder) == checks):
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:  # the user stops this command before the run has started: leave nothing behind
            process.terminate()
            process.wait()
            _keep_log(log, folder)
            raise
        if process.poll():
            file.seek(0)
            print_to_stderr(file.read(), end="")
            _keep_log(log, folder)
            sys.exit(process.returncode)
    _keep_log(log, folder)
    print_to_stderr(f"Working on {folder.root} in process {process.pid}.")
    print_to_stderr(f"Watch with:  evolve status {folder.root} --watch\nStop with:   evolve stop {folder.root}")


def _checks(folder: RunFolder) -> int:
    """How often a process of the run has checked its models and can go on: at least one answers, or none had to be asked."""
    if not folder.journal.is_file():
        return 0
    with suppress(MachineError), closing(Journal(folder.journal, read_only=True)) as journal:
        return sum(not faults or not all(faults.values()) for faults in (row[3]["faults"] for row in journal.events("checked")))
    return 0


def _keep_log(log: str, folder: RunFolder) -> None:
    """Move it into the run's folder; if there is none, the run has not begun and nothing remains."""
    if folder.root.is_dir():
        os.replace(log, folder.log)
    else:
        os.unlink(log)


def _final_status(folder: RunFolder, live: Live) -> Facts | None:
    """The status of the run; None if the journal cannot be read, which may be what broke the run."""
    try:
        return read_status(folder)
    except MachineError as error:
        live.print_line(str(error))
        return None


def _next_step(folder: RunFolder, exit_code: int, command: str) -> str:
    """`command`: that continues what was started."""
    if exit_code == 0:
        return f"Look closer with:  evolve show {folder.root}, or open {folder.report}"
    if exit_code == signals.INTERRUPTED:
        return f"Stopped. Go on with:  evolve {command} {folder.root}"
    return f"When the cause is repaired, go on with:  evolve {command} {folder.root}"
