"""What a person asks for: the facts of a journal, as text and tables.

Text of candidates and models (reasons, logs, answers) is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, cast

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.core.objectives import change_text, effect_text, usual_of
from agent.core.text import clean
from agent.population.candidate import SEED_ID

Facts = Mapping[str, Any]

_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)


def number(value: float) -> str:
    """Counts with thousands separators, shares with four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 or (float(value).is_integer() and abs(value) > 1) else f"{value:.4f}"


def fitness_text(fitness: Mapping[str, float] | None) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in (fitness or {}).items())


def slots_text(devices: Sequence[str]) -> str:
    """`4 slots on cpu`, `2 slots on cuda:0, 2 slots on cuda:1`."""
    told = (f"{count} slot{'s' if count > 1 else ''} on {device}" for device, count in Counter(devices).items())
    return ", ".join(told)


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


_SCREEN = 24
"""Lines, where the height of the screen is not known."""


def print_status(facts: Facts) -> None:
    """One screen: state, forecast, counts, spend, front."""
    console = _stdout()
    spend, counts = facts["spend"], facts["counts"]
    minutes, seconds = divmod(int(spend["seconds"]), 60)
    reason = f" ({one_line(facts['reason'])})" if facts["reason"] else ""
    lines = [Text(f"{facts['run']}: {facts['state']}{reason}, {minutes}:{seconds:02d} min", "bold")]
    if facts["forecast"]:
        lines.append(Text(f"forecast: {facts['forecast']['words']}"))
    for one in facts["waiting"]:
        lines.append(Text(f"{one['model']} is left alone until {one['until']}: {one_line(one['reason'])}", "yellow"))
    lines.append(Text("  ".join(f"{kind} {count}" for kind, count in counts.items())))
    unknown = spend["calls_without_a_known_price"]
    usd = f"{spend['usd']:.4f} USD" + (f" and {unknown} calls of unknown price" if unknown else "")
    if unknown and unknown == spend["llm_calls"]:
        usd = "price unknown"
    tokens = f"{spend['tokens_in']:,} tokens in, {spend['tokens_out']:,} out"
    place = f"{slots_text(facts['devices'])}, isolation {facts['isolation']}"
    lines.append(Text(f"{spend['llm_calls']} model calls, {tokens}, {usd}; {place}"))
    for reason, count in facts["failures"].items():
        lines.append(Text(f"  {count} x {one_line(reason)[:150]}", "yellow"))
    lines += _warnings(facts["self_reported"])
    if noise := facts["noise"]:
        told = ", ".join(f"{name} {number(sigma) if sigma else 'none'}" for name, sigma in noise["sigma"].items())
        lines.append(Text(f"noise, one sigma of the seed over training seeds: {told}"))
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis")
    height = console.height if console.is_terminal else _SCREEN
    rest = 6  # the front's title and head, a line for what is left out, the hypervolume, and the words below
    console.print(_front_table(facts, most=max(3, height - len(lines) - rest)))
    console.print(Text(f"hypervolume {facts['hypervolume']:.4f} (the seed alone: 1)"))


def print_run(listed: list[dict[str, Any]], facts: Facts) -> None:
    """Every child in a line, those on the front marked, and the front with what each member was meant to do."""
    console = _stdout()
    on_front = {member["id"] for member in facts["front"]}
    rows = [("", "id", "gen", "parents", "operator", "block", "directive", "role", "outcome")]
    for one in listed:
        told = fitness_text(one["fitness"]) or ": ".join(filter(None, (one["outcome"], one["reason"])))[:120]
        mark, parents = "*" if one["id"] in on_front else "", ",".join(one["parents"])
        asked = one["operator"], one["block"], one["directive"] or "", one["role"] or ""
        rows.append((mark, one["id"], str(one["generation"]), parents, *asked, one_line(told)))
    # By hand: a table of ten thousand rows would take rich many seconds.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [(row[0], "  ".join(map(str.ljust, row, widths)).rstrip()) for row in rows]
    if console.is_terminal:
        width = console.width
        lines = [(mark, f"\x1b[32m{line[:width]}\x1b[0m" if mark else line[:width]) for mark, line in lines]
    print("\n".join(line for _, line in lines), file=console.file)
    console.print(_front_table(facts))
    for warning in _warnings(facts["self_reported"]):
        console.print(warning)


def print_variant(one: Facts, facts: Facts) -> None:
    """Everything about one child: what was asked, answered, changed and measured."""
    console = _stdout()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    origin = ("branch", "parents", "operator", "block", "role", "directive", "elite", "model", "temperature")
    for key in (*origin, "intention", "outcome", "reason"):
        if one[key] not in (None, "", []):
            value = ", ".join(one[key]) if isinstance(one[key], list) else str(one[key])
            table.add_row(key, Text(clean(value)))
    if one["fitness"]:
        seed = facts["seed"]["fitness"]
        for name, value in one["fitness"].items():
            mark = f"; self-reported: {reason}" if (reason := facts["self_reported"].get(name)) else ""
            usual = usual_of(facts, name)
            mean = f", on average {number(usual)}" if usual != seed[name] else ""
            told = f"{number(value)}  {change_text(facts, name, value)}, the seed {number(seed[name])}{mean}{mark}"
            table.add_row(name, Text(told))
        stages = ", ".join(f"{stage} {s:.2f} s" for stage, s in one["evidence"]["seconds"].items())
        memory = one["evidence"]["peak_memory"] / 2**20
        place = f"on {one['evidence']['device']}, {one['evidence']['waited']:.2f} s of waiting not counted"
        table.add_row("measured", f"{stages}; {place}; peak {memory:.0f} MiB; isolation {one['evidence']['isolation']}")
    console.print(Text(f"variant {one['id']}", "bold"))
    console.print(table)
    if one["log"]:
        console.print(Text("last output", "bold"), Text(one["log"][-2000:]))
    if one["diff"]:
        console.print(Text("change against the seed", "bold"))
        console.print(Syntax(one["diff"], "diff", background_color="default", word_wrap=True))
    for call in one["calls"]:
        console.print(Text(f"\nprompt to {call['model']}", "bold"), Text(call["prompt"]), sep="\n", soft_wrap=True)
        console.print(Text("\nanswer", "bold"), Text(call["answer"] or "(none)"), sep="\n", soft_wrap=True)


def print_lessons(told: Sequence[Facts], facts: Facts) -> None:
    """A few lines for each; changes in sigma of the noise where there is noise, else in percent of the seed's value.

    CreditSettings: how children that were shown the lesson fared against the usual child, in sigma, added up and fading.
    """
    console = _stdout()
    for one in told:
        effects = ", ".join(f"{name} {effect_text(facts, name, change)}" for name, change in one["effects"].items())
        style = {"helped": "green", "hurt": "red", "failed": "yellow"}.get(one["verdict"], "")
        of, about = ", ".join(one["blocks"][:4]), ", ".join(kind for kind in one["kinds"][:4] if kind not in one["blocks"])
        fate = "" if one["fate"] == "alive" else f", {one['fate'] if one['fate'] == 'dead' else 'now part of ' + one['fate']}"
        readers = f"credit {one['credit']:+.1f} of {one['told']} readers" if one["told"] else "not told yet"
        deed = " ".join(filter(None, (one["operator"], one["directive"], of and f"of {of}", about and f"about {about}")))
        console.print(Text(f"{one['id']}  {one['verdict']}  {deed}; {readers}{fate}", style))
        for label, text in (("measured", effects), ("reason", one["reason"]), ("said", one["insight"] or one["intention"])):
            if text:
                console.print(Text(f"      {label}: {clean(text)}"), soft_wrap=True)
    if not told:
        console.print("No lessons yet.")


def print_arms(facts: Facts) -> None:
    console = _stdout()
    for kind in ("models", "operators", "prompts"):
        table = Table(box=None, padding=(0, 2, 0, 0), title=kind, title_justify="left")
        columns = ("children", "valid first answers", "trained", "helped", "on the front", "USD", "hours of evaluation")
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for arm in facts[kind]:
            share = f"{arm['valid'] / arm['children']:.0%}"
            values = (arm["children"], share, arm["trained"], arm["helped"], arm["front"])
            table.add_row(Text(arm["name"][:60]), *map(str, values), f"{arm['usd']:.3f}", f"{arm['seconds'] / 3600:.2f}")
        console.print(table)
    for name, text in facts["written"].items():
        console.print(Text(f"{name}, written in this run: {clean(text)}"), soft_wrap=True)


def print_comparison(facts: Facts) -> None:
    """A line for each run, and how it grew, at a tenth of the way each."""
    console = _stdout()
    equal = facts["equal"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("run")
    columns = ("trained", "USD", "hypervolume", f"after {equal['trained']} trained", f"after {equal['usd']:.3f} USD")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("noise (one sigma)")
    for run in facts["runs"]:
        noise = ", ".join(f"{name} {number(sigma)}" for name, sigma in (run["noise"] or {}).items() if sigma) or "not measured"
        volumes = (f"{run[key]:.4f}" for key in ("hypervolume", "at_equal_trained", "at_equal_usd"))
        table.add_row(Text(run["run"]), str(run["trained"]), f"{run['usd']:.3f}", *volumes, Text(noise))
    console.print(table)
    steps = sorted({round(equal["trained"] * tenth / 10) for tenth in range(11)})
    growth = Table(box=None, padding=(0, 2, 0, 0), title="hypervolume after so many trained variants", title_justify="left")
    growth.add_column("run")
    for step in steps:
        growth.add_column(str(step), justify="right")
    for run in facts["runs"]:
        growth.add_row(Text(run["run"]), *(f"{run['points'][step]['hypervolume']:.4f}" for step in steps))
    console.print(growth)


def print_diff(text: str) -> None:
    if sys.stdout.isatty():
        _stdout().print(Syntax(text, "diff", background_color="default", word_wrap=True))
    else:
        sys.stdout.write(text)


def print_doctor(lines: Iterable[str]) -> None:
    """Topics stand at the margin."""
    console = _stdout()
    for line in lines:
        console.print(Text(line, "" if line.startswith(" ") else "bold"), soft_wrap=True)


def print_checks(checks: list[dict[str, Any]]) -> None:
    """A line for each check; what it found is the author's or a candidate's text."""
    console = _stdout()
    for check in checks:
        word, style = ("ok    ", "green") if check["passed"] else ("FAILED", "bold red")
        console.print(Text(f"{word} {check['check']}: {clean(check['found'])}", style), soft_wrap=True)


def _front_table(facts: Facts, most: int | None = None) -> Table:
    """`most`: rows that there is room for."""
    table = Table(title="front", title_justify="left", box=None, padding=(0, 2, 0, 0), expand=True)
    names = list(facts["objectives"])
    for column in ("id", *names, "branch"):
        mark = " (self-reported)" if column in facts["self_reported"] else ""
        table.add_column(f"{column}{mark}", justify="right" if column in names else "left", no_wrap=True)
    table.add_column("last intention", no_wrap=True, overflow="ellipsis", ratio=1)  # takes what the others leave
    rows = [(member["id"], member["fitness"], member["branch"], member["intention"]) for member in facts["front"]]
    if facts["seed"]["fitness"] and all(id != SEED_ID for id, *_ in rows):
        rows.append((SEED_ID, facts["seed"]["fitness"], "(where it began)", ""))
    room = len(rows) if most is None or len(rows) <= most else most
    if room < len(rows):
        table.caption, table.caption_justify = f"and {len(rows) - room} more: evolve show", "left"
        rows = [*rows[: room - 1], rows[-1]]  # the seed, if it is not on the front, is what the others are compared with
    for id, fitness, branch, intention in rows:
        values = (number(fitness[n]) + (f" {change_text(facts, n, fitness[n])}" if id != SEED_ID else "") for n in names)
        table.add_row(id, *values, Text(branch or ""), Text(clean(intention)))
    return table


def _warnings(reported: Mapping[str, str]) -> list[Text]:
    return [Text(f"{name} is self-reported: {reason}.", "yellow") for name, reason in reported.items()]


def _stdout() -> Console:
    """When piped, wide, so that no cell is cut for a reader that is a program, and without the blanks that fill a table."""
    if sys.stdout.isatty():
        return Console(highlight=False, soft_wrap=False)
    return Console(width=200, highlight=False, soft_wrap=False, file=cast(IO[str], _Trimmed(sys.stdout)))


class _Trimmed:
    """A stream of whole lines without blanks at their ends."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_BLANKS.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
