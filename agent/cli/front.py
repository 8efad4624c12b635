"""Print what a run has found: its front, and a line for each of its candidates.

Text of candidates and models is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from agent.cli.columns import NO_BREAK, Column, least_width, table_rows
from agent.cli.confirmation import verdict_lines
from agent.cli.console import fitness_text, print_wrapped, stdout_console
from agent.core.text import one_line, visible
from agent.population.candidate import SEED_ID
from agent.review.facts import Facts, format_distance, format_value

_LEGEND = "* is on the front: no other program is at least as good in every objective and better in one"


def print_run(candidates: Sequence[Facts], status: Facts) -> None:
    """Print a line for each candidate, those on the front marked, and the front with the intention of each member."""
    console = stdout_console()
    on_front = {member["id"] for member in status["front"]}
    marks = ["*" if one["id"] in on_front else "" for one in candidates]
    columns = [
        Column("", marks),
        Column("id", [one["id"] for one in candidates]),
        Column("gen", [str(one["generation"]) for one in candidates], rank=4),
        Column("parents", [",".join(one["parents"]) for one in candidates], rank=3),
        Column("operator", [one["operator"] for one in candidates], rank=1),
        Column("block", [one["block"] for one in candidates], rank=2),
        Column("directive", [one["directive"] or "" for one in candidates], rank=5),
        Column("role", [one["role"] or "" for one in candidates], rank=6),
        Column("outcome", list(map(_outcome_text, candidates)), flexible=True),
    ]
    # Without rich: it would take many seconds for a table of ten thousand rows.
    width = console.width if console.is_terminal else sys.maxsize
    for mark, lines in zip(["", *marks], table_rows(columns, width), strict=True):
        for line in map(visible, lines):
            print(f"\x1b[32m{line}\x1b[0m" if mark and console.is_terminal else line, file=console.file)
    if on_front:
        print_wrapped(console, Text(_LEGEND, "dim"))
    print_front(console, status)
    for warning in warnings(status["self_reported"]):
        print_wrapped(console, warning)
    for text, style in verdict_lines(status):
        print_wrapped(console, Text(text, style))


def _outcome_text(one: Facts) -> str:
    return _known_text(one) or one_line(": ".join(filter(None, (one["outcome"], one["reason"])))[:120])


def _known_text(one: Facts) -> str:
    """The fitness of a candidate, of how many trainings it is the mean, and whether it may still lead; empty without one."""
    facts = [fitness_text({name: value}).replace(" ", NO_BREAK) for name, value in (one["fitness"] or {}).items()]
    text = "  ".join(facts)
    if one["trainings"] > 1:
        text += f"  mean of {one['trainings']}"
    return f"{text}  leads no more: {one_line(one['fault'])}"[:200] if one["fault"] else text


def print_front(console: Console, status: Facts, most: int | None = None) -> None:
    """Print the front and the seed as a table. `most`: how many rows fit; None for any number."""
    names = list(status["objectives"])
    rows, rest = list(status["front"]), 0
    if status["seed"]["fitness"] and all(member["id"] != SEED_ID for member in rows):
        rows.append({"id": SEED_ID, **status["seed"], "branch": "(where it began)", "intention": ""})
    if most is not None and len(rows) > most:
        rest = len(rows) - most
        rows = [*rows[: most - 1], rows[-1]]  # the last row is the seed, unless it is on the front

    def column(name: str) -> Column:
        mark = " (self-reported)" if name in status["self_reported"] else ""
        return Column(f"{name}{mark}", [f"{format_value(one, name)}{_distance(status, one, name)}" for one in rows], right=True)

    columns = [
        Column("id", [one["id"] for one in rows]),
        Column("trainings", [str(one["trainings"]) for one in rows], rank=2, right=True),
        *map(column, names),
        Column("branch", [one["branch"] or "" for one in rows], rank=3),
        Column("last intention", [one_line(one["intention"]) for one in rows], rank=1, flexible=True, cuts=True),
    ]
    console.print(Text("front", "italic"))
    width = console.width if console.is_terminal else max(console.width, least_width(columns))
    for lines in table_rows(columns, width):
        for line in lines:
            console.print(Text(line), soft_wrap=True)
    if rest:
        console.print(Text(f"and {rest} more: evolve show", "dim"))


def _distance(status: Facts, one: Facts, name: str) -> str:
    """How far a member of the front is from the seed; empty for the seed itself."""
    return "" if one["id"] == SEED_ID else f" {format_distance(status, name, one['fitness'][name], one['trainings'])}"


def warnings(self_reported: Mapping[str, str]) -> list[Text]:
    return [Text(f"{name} is self-reported: {reason}.", "yellow") for name, reason in self_reported.items()]
