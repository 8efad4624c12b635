"""A run from the command's side: in front of a terminal or in the background, to its last words."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

import click

from agent.cli import tables as terminal
from agent.cli.live import Live
from agent.cli.notify import Notifications
from agent.core.errors import MachineError, UserError
from agent.core.paths import start_command
from agent.journal.events import Event, Notice, Watch
from agent.journal.store import Journal
from agent.review import report as writing
from agent.review import status as summary
from agent.run import signals
from agent.run.folder import RunFolder, is_locked, owner

Facts = dict[str, Any]


def drive(folder: RunFolder, work: Callable[[Watch], None], notifications: Notifications) -> None:
    """Runs with the live view, then says what came of it and how to go on, here and to who is not there."""
    signals.outlive_the_terminal()
    fault: BaseException | None = None
    with Live(folder.name) as live:

        def watch(event: Event | Notice) -> None:
            live.see(event)
            notifications.see(folder.name, event)

        try:
            work(watch)
        except UserError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # whatever it is: told below, and raised again
            fault = error
    if fault and not folder.journal.is_file():
        live.say("StageFailure; nothing was begun.")
        raise fault
    code = 0 if fault is None else signals.INTERRUPTED if isinstance(fault, KeyboardInterrupt) else 1
    facts = None if signals.hurried() else _last_facts(folder, live)
    if facts:
        with suppress(OSError):  # nobody may be there any more
            terminal.print_status(facts)
        with suppress(OSError, MachineError):  # a full disk must not hide how the run ended
            report(folder)
    live.say(_how_to_go_on(folder, code))
    if facts:
        notifications.tell(folder.root, facts, code)
    if fault:
        raise fault


def detach(folder: RunFolder, arguments: Sequence[str]) -> None:
    """The same command in a session of its own; returns when it works on the run, or with its words when it cannot."""
    folder.root.parent.mkdir(parents=True, exist_ok=True)
    descriptor, log = tempfile.mkstemp(prefix=f".{folder.name}-", suffix=".log", dir=folder.root.parent)
    with open(descriptor, "r+") as file:
        command = start_command("agent.cli.main", *arguments)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        click.echo("Waiting until it has checked the seed and works on the run ...", err=True)
        try:
            while process.poll() is None and owner(folder.lock) != process.pid:
                time.sleep(0.05)
        except KeyboardInterrupt:  # before the run has begun, what is stopped is this command
            process.terminate()
            process.wait()
            os.unlink(log)
            raise
        if process.poll():
            file.seek(0)
            click.echo(file.read(), err=True, nl=False)
            os.unlink(log)
            sys.exit(process.returncode)
    os.replace(log, folder.log)
    click.echo(f"Working on {folder.root} in process {process.pid}.", err=True)
    click.echo(f"Watch with:  evolve status {folder.root} --watch\nStop with:   evolve stop {folder.root}", err=True)


def status(folder: RunFolder) -> Facts:
    """Raises MachineError if the journal cannot be read."""
    with closing(Journal(folder.journal, read_only=True)) as journal:
        return dict(summary.status(journal, folder.name, alive=is_locked(folder.lock)))


def report(folder: RunFolder) -> None:
    """Writes the report's two files."""
    with closing(Journal(folder.journal, read_only=True)) as journal:
        writing.write(journal, folder.name, folder.report, folder.report_markdown, alive=is_locked(folder.lock))


def _last_facts(folder: RunFolder, live: Live) -> Facts | None:
    """None if the journal cannot be read, which may be what broke the run."""
    try:
        return status(folder)
    except MachineError as error:
        live.say(str(error))
        return None


def _how_to_go_on(folder: RunFolder, code: int) -> str:
    if code == 0:
        return f"Look closer with:  evolve show {folder.root}, or open {folder.report}"
    if code == signals.INTERRUPTED:
        return f"StageFailure. Go on with:  evolve resume {folder.root}"
    return f"When the cause is mended, go on with:  evolve resume {folder.root}"
