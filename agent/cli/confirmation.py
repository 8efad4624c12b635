"""Shows a confirmation: its lines in the live view, its verdicts in a status, and the table of `evolve confirm`.

Reasons of failures are text of candidates, which is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from agent.cli.console import fitness_text, stdout_console
from agent.core.text import format_sigma, one_line
from agent.core.verdicts import CONFIRMED
from agent.journal.events import Event, Retrained, SealOpened, SearchEnded, ShortlistFrozen, VerdictsReached
from agent.population.candidate import SEED_ID
from agent.review.confirmation import (
    CHECK_FAILED,
    MEANING,
    basis_text,
    difference_text,
    is_alarming,
    openings_text,
    p_text,
    progress_text,
    shrinkage_text,
    verdict_text,
)
from agent.review.facts import Facts
from agent.review.null import null_alarms, null_lines

Line = tuple[str, str]
"""(text, style)"""
_REASON = 120
_STYLES = {"better": "green", "no_worse_and_smaller": "green", "undecided": "yellow"}
_ALARM = "bold red"


class ConfirmationView:
    """Follows the events of a confirmation."""

    def __init__(self) -> None:
        self._planned, self._made, self.is_under_way = 0, 0, False
        self._objectives: tuple[str, ...] = ()
        self.is_null = False
        """Of a null run: whatever is confirmed is a false discovery."""

    def lines(self, event: Event) -> Iterator[Line]:
        """What one event adds to the live view."""
        match event:
            case SearchEnded(_, reason):
                yield f"the search is over{f' ({one_line(reason)})' if reason else ''}; its front is confirmed now", "bold"
            case ShortlistFrozen(members=members, nulls=nulls, plan=plan, left_out=left_out):
                self._planned, self.is_under_way = len(plan), True
                self._objectives = tuple(members[SEED_ID] or ())
                chosen = [id for id in members if id != SEED_ID and id not in nulls]
                each = sum(id == SEED_ID for id, _ in plan)
                rest = f"with the seed and {len(nulls)} copies of it, {each} trainings each"
                others = f" ({left_out} more of the front are not)" if left_out else ""
                yield f"to be confirmed: {', '.join(chosen)}{others}; {rest}", "bold"
            case SealOpened(number):
                yield f"the sealed test split is opened, by confirmation {number} of this run", "bold yellow"
            case Retrained():
                self._made += 1
                yield f"confirming {event.id}, training seed {event.training_seed}: {self._measured(event)}", ""
            case VerdictsReached(_, verdicts):
                self.is_under_way = False
                for verdict in verdicts.verdicts:
                    if verdict.role == "member":
                        false = self.is_null and verdict.word in CONFIRMED
                        style = _ALARM if false else _STYLES.get(verdict.word or "", "")
                        yield f"{verdict.id}: {'FALSE DISCOVERY: ' if false else ''}{verdict.text}", style
                if verdicts.check == "failed":
                    yield CHECK_FAILED, _ALARM
            case _:
                pass

    def head(self) -> str:
        return f"confirming the front: {self._made} of {self._planned} trainings made by this process"

    def _measured(self, event: Retrained) -> str:
        if event.values is None:
            return f"failed at {one_line(event.reason)[:_REASON]}"
        found = [("", event.values), ("test: ", event.test_values)]
        shown = ((split, {name: values[name] for name in self._objectives}) for split, values in found if values is not None)
        return "; ".join(f"{split}{fitness_text(values)}" for split, values in shown)


def verdict_lines(status: Facts) -> list[Line]:
    """The verdicts of the last confirmation for a status, and how often the test split was opened; of a null run what it is."""
    facts = status["confirmation"]
    lines = [*((line, "bold yellow") for line in null_lines(status)), *((line, _ALARM) for line in null_alarms(status))]
    lines.append((openings_text(status), ""))
    if not facts:
        return lines
    if facts["check_failed"]:
        lines.append((CHECK_FAILED, _ALARM))
    if facts["state"] != "complete":
        text = progress_text(facts, alive=status["state"] == "running")
        return [*lines, (f"confirmation {facts['number']}: {text}", "yellow")]
    found = [one for one in facts["verdicts"] if one["role"] == "member"]
    lines.append((f"confirmation {facts['number']}, on the {facts['split']} split (numbers: report.md):", "bold"))
    return [*lines, *((f"  {one['id']}: {verdict_text(one)}", _style(one)) for one in found)]


def print_confirmation(status: Facts) -> None:
    """The table of all verdicts, and below it what they are based on and what they mean."""
    console, facts = stdout_console(), status["confirmation"]
    if facts is None:
        console.print("Nothing was confirmed.")
        return
    console.print(_table(facts, list(status["objectives"])))
    for one in facts["verdicts"]:
        for reason, count in Counter(one["failures"]).items():
            text = f"{one['id']} failed in {count} of its trainings: {one_line(reason)[:_REASON]}"
            console.print(Text(text, "yellow"), soft_wrap=True)
    if facts["state"] != "complete":
        console.print(Text(progress_text(facts, alive=False), "yellow"), soft_wrap=True)
    console.print(Text(basis_text(facts)), soft_wrap=True)
    spread = ", ".join(f"{name} {format_sigma(value)}" for name, value in facts["sigma"].items()) or "nothing varies"
    console.print(Text(f"One sigma over training seeds, of the seed and its copies: {spread}."), soft_wrap=True)
    console.print(Text(f"The {openings_text(status)}. {MEANING}"), soft_wrap=True)
    for line in null_lines(status):
        console.print(Text(line, "bold yellow"), soft_wrap=True)
    for line in null_alarms(status):
        console.print(Text(line, _ALARM), soft_wrap=True)
    if facts["check_failed"]:
        console.print(Text(CHECK_FAILED, _ALARM), soft_wrap=True)
    elif facts["check"] == "passed":
        console.print(Text("Check: the copies of the seed were not confirmed as better, as they should not be."), soft_wrap=True)


def _table(facts: Facts, objectives: list[str]) -> Table:
    title = f"confirmation {facts['number']}: difference from the seed"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True)
    for name in objectives:
        table.add_column(name, justify="right", no_wrap=True)
        if name in facts["sigma"]:
            table.add_column("p (Holm)", justify="right", no_wrap=True)
            table.add_column("shrinkage", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("failed", justify="right")
    table.add_column("verdict")
    for one in facts["verdicts"]:
        cells = [cell for found in one["objectives"] for cell in _cells(found, noisy=found["objective"] in facts["sigma"])]
        verdict = Text(verdict_text(one), _style(one))
        table.add_row(one["id"], *cells, str(one["trainings"]), str(len(one["failures"])), verdict)
    return table


def _style(verdict: Facts) -> str:
    return _ALARM if is_alarming(verdict) else _STYLES.get(verdict["word"] or "", "")


def _cells(found: Facts, *, noisy: bool) -> list[str]:
    """Of one objective: difference with its interval, adjusted p, shrinkage."""
    value = difference_text(found, noisy=noisy)
    return [value, p_text(found), shrinkage_text(found)] if noisy else [value]
