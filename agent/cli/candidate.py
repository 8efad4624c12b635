"""Print one candidate: where it comes from, what it measured against its parents and the seed, its diff, its conversation.

Text of candidates and models is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.cli.console import fitness_text, print_wrapped, stdout_console
from agent.core.text import clean, format_number, one_line, visible
from agent.population.candidate import SEED_ID
from agent.review.facts import Facts, format_value

_LOG = 2000
"""Characters of a candidate's last output."""
_STYLES = {True: "green", False: "red", None: ""}
"""Of a change by whether it is for the better."""


def print_candidate(candidate: Facts, status: Facts) -> None:
    """Print everything about one candidate: recipe, measurements, change, prompts and answers."""
    console = stdout_console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    recipe = ("branch", "parents", "operator", "block", "role", "directive", "elite", "sources", "model", "temperature")
    for key in (*recipe, "intention", "outcome", "reason"):
        value = candidate[key]
        if value not in (None, "", []):
            table.add_row(key, Text(clean(", ".join(value) if isinstance(value, list) else str(value))))
    if candidate["fitness"]:
        if candidate["trainings"] > 1:
            readings = "; ".join(fitness_text(reading) for reading in candidate["readings"])
            table.add_row("readings", Text(f"{candidate['trainings']}, of which the values are means: {readings}"))
        if candidate["fault"]:
            table.add_row("leads no more", Text(clean(candidate["fault"])))
        table.add_row("measured", _evidence_text(candidate["evidence"]))
    if candidate["calls"]:
        table.add_row("cost", _cost_text(candidate))
    console.print(Text(f"candidate {candidate['id']}", "bold"))
    console.print(table)
    _print_effects(console, candidate, status)
    if candidate["log"]:
        console.print(Text("last output", "bold"), Text(visible(candidate["log"][-_LOG:])))
    if candidate["diff"]:
        console.print(Text("change against the seed", "bold"))
        _print_diff(console, candidate["diff"])
    for call in candidate["calls"]:
        console.print(Text(f"\nprompt to {call['model']}", "bold"), Text(visible(call["prompt"])), sep="\n", soft_wrap=True)
        console.print(Text("\nanswer", "bold"), Text(visible(call["answer"] or "(none)")), sep="\n", soft_wrap=True)


def print_steps(steps: Sequence[Facts], status: Facts) -> None:
    """Print the way from the seed to a candidate: of each step what it was to do, what it measured, and its own diff."""
    console = stdout_console()
    for number, step in enumerate(steps, start=1):
        block = f" of {step['block']}" if step["block"] else ""
        title = f"step {number} of {len(steps)}: {step['id']}, {step['operator']}{block}, from {', '.join(step['parents'])}"
        print_wrapped(console, Text(one_line(title), "bold"))
        if step["intention"]:
            print_wrapped(console, Text(f"intention: {one_line(step['intention'])}"))
        if not step["fitness"]:
            print_wrapped(console, Text(one_line(": ".join(filter(None, (step["outcome"], step["reason"])))), "yellow"))
        _print_effects(console, {**step, "error": None}, status)
        _print_diff(console, step["diff"] or "(the program is the same)\n")
        if number < len(steps):
            console.print()


def _print_effects(console: Console, one: Facts, status: Facts) -> None:
    """The measured values against those of the parents and of the seed, and the verdicts of search and confirmation."""
    if not one["against"]:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column(_counted("this", one["trainings"]))
    for other in one["against"]:
        table.add_column(_counted(_label(other), other["trainings"]))
    for number, name in enumerate(one["fitness"]):
        cells = [_cell(other["objectives"][number]) for other in one["against"]]
        table.add_row(name, format_value(one, name), *cells)
    console.print(table)
    for name in one["fitness"]:
        if reason := status["self_reported"].get(name):
            print_wrapped(console, Text(f"{name} is self-reported: {reason}.", "yellow"))
    for other in reversed(one["against"]):
        print_wrapped(console, Text(f"verdict against {_label(other)}: {other['verdict']}"))
    for verdict in (status["confirmation"] or {"verdicts": []})["verdicts"]:
        if verdict["id"] == one["id"]:
            print_wrapped(console, Text(f"confirmation {status['confirmation']['number']}: {verdict['text']}"))


def _label(other: Facts) -> str:
    return "the seed" if other["id"] == SEED_ID else f"parent {other['id']}"


def _counted(label: str, trainings: int) -> str:
    return f"{label} (mean of {trainings})" if trainings > 1 else label


def _cell(one: Facts) -> Text:
    told = ", ".join(filter(None, (one["change"], one["word"])))
    return Text(f"{format_number(one['before'])} (").append(told, _STYLES[one["better"]]).append(")")


def _cost_text(candidate: Facts) -> str:
    calls = len(candidate["calls"])
    price = f"{candidate['usd']:.4f} USD" if candidate["usd"] or not candidate["unpriced"] else ""
    known = " and ".join(filter(None, (price, "price unknown" if candidate["unpriced"] else "")))
    return f"{known}, {calls} model call{'s' if calls > 1 else ''}"


def _evidence_text(evidence: Facts) -> str:
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in evidence["seconds"].items())
    place = f"on {evidence['device']}, {evidence['waited']:.2f} s of waiting not counted"
    if (load := evidence.get("load")) is not None:
        place += f"; timed alone, at a load of the machine of {load:.1f}"
    return f"{stages}; {place}; peak {evidence['peak_memory'] / 2**20:.0f} MiB; isolation {evidence['isolation']}"


def print_diff(text: str, known: Collection[str] = ()) -> None:
    """Print a diff: in colours on a terminal, else so that `git apply` can read it.

    `known`: characters that a pipe gets unchanged, those of the seed.
    """
    if sys.stdout.isatty():
        _print_diff(stdout_console(), text)
    else:
        sys.stdout.write(visible(text, known))


def _print_diff(console: Console, text: str) -> None:
    """In colours on a terminal; in a pipe no line is wrapped or filled."""
    shown = visible(text).rstrip("\n")
    if console.is_terminal:
        console.print(Syntax(shown, "diff", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        console.print(Text(shown), soft_wrap=True)
