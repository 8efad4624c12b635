"""Trains a program of a run again for the command, and prints how it compares.

Reasons of failures are text of candidates, which is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

from rich.text import Text

from agent.cli.console import stdout_console
from agent.cli.output import print_to_stderr
from agent.review.facts import Facts
from agent.review.reproduction import difference_lines, reading_lines, reproduction_facts, source_text, verdict_text
from agent.run.folder import RunFolder


def reproduce(folder: RunFolder, id: str, *, every: bool) -> Facts:
    """Raises UserError, MachineError. `every`: all recorded trainings of it."""
    from agent.run.reproduction import reproduce as train_again

    print_to_stderr(f"training {id} of {folder.name} again")
    return reproduction_facts(train_again(folder, id, lambda event: None, every=every), folder.name)


def print_reproduction(facts: Facts) -> None:
    console = stdout_console()
    console.print(Text(verdict_text(facts), "bold green" if facts["reproduced"] else "bold red"), soft_wrap=True)
    console.print(Text(source_text(facts), "red" if facts["source"]["in_git"] is False else ""), soft_wrap=True)
    for one in facts["readings"]:
        for line, fault in reading_lines(one):
            console.print(Text(line, "red" if fault else ""), soft_wrap=True)
    for line in difference_lines(facts):
        console.print(Text(line, "yellow"), soft_wrap=True)
