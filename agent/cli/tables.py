"""Print the facts of runs as text and tables.

Text of candidates and models (reasons, logs, answers) is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.cli.confirmation import verdict_lines
from agent.cli.console import fitness_text, print_wrapped, slots_text, stdout_console
from agent.cli.front import print_front, warnings
from agent.core.text import clean, format_number, format_sigma, one_line, visible
from agent.review.cost import ESTIMATED, tokens_text, usd_text
from agent.review.facts import (
    Facts,
    format_changes,
    format_distance,
    format_price,
    format_value,
    luck_lines,
    retraining_lines,
    seed_phase,
    seed_value,
)
from agent.review.learning import ARM_KINDS

_SCREEN = 24
"""Lines of a screen whose height is not known."""
_BELOW_LINES = 7
"""Lines of a status beside its first ones: the front's title, head and caption, worth, luck, and the prompt below."""
_READINGS = 3
"""Lines of a status about elites that were trained again."""
_REASON = 150
"""Characters of a reason."""
_LOG = 2000
"""Characters of a candidate's last output."""
_VERDICT_STYLES = {"better": "green", "worse": "red", "failed": "yellow"}


def print_status(status: Facts) -> None:
    """Print one screen: state, forecast, counts, spend, and the front once the seed is trained."""
    console = stdout_console()
    lines = _status_lines(status)
    for line in lines:
        print_wrapped(console, line)
    if not status["seed"]["fitness"]:
        return
    verdicts, again = verdict_lines(status), retraining_lines(status, reasons=True)[:_READINGS]
    height = console.height if console.is_terminal else _SCREEN
    others = (*(line.plain for line in lines), *(text for text, _ in verdicts), *again)
    taken = sum(-(-max(1, len(text)) // console.width) for text in others)
    print_front(console, status, most=max(3, height - taken - _BELOW_LINES))
    print_wrapped(console, Text(f"worth {status['worth']:.2f} (the seed alone: 1)"))
    for remark in (*luck_lines(status), *again):
        print_wrapped(console, Text(remark, "dim"))
    for text, style in verdicts:
        print_wrapped(console, Text(text, style))


def _status_lines(status: Facts) -> list[Text]:
    spend = status["spend"]
    minutes, seconds = divmod(int(spend["seconds"]), 60)
    reason = f" ({one_line(why)})" if (why := status["reason"] or _seed_phase(status)) else ""
    lines = [Text(f"{status['run']}: {status['state']}{reason}, {minutes}:{seconds:02d} min", "bold")]
    if status["forecast"]:
        lines.append(Text(f"forecast: {status['forecast']['words']}"))
    for model in status["waiting"]:
        lines.append(Text(f"{model['model']} cools down until {model['until']}: {one_line(model['reason'])[:_REASON]}", "yellow"))
    lines.append(Text("  ".join(f"{kind} {count}" for kind, count in status["counts"].items())))
    estimated = " (estimated)" if status["cost"]["tokens_estimated"] else ""
    tokens = f"{spend['tokens_in']:,} tokens in, {spend['tokens_out']:,} out{estimated}"
    place = f"{slots_text(status['devices'])}, isolation {status['isolation']}"
    lines.append(Text(f"{spend['llm_calls']} model calls, {tokens}, {format_price(spend, 4)}; {place}"))
    for reason, count in status["failures"].items():
        lines.append(Text(f"  {count} x {one_line(reason)[:_REASON]}", "yellow"))
    lines += warnings(status["self_reported"])
    if noise := status["noise"]:
        sigmas = (f"{name} {format_sigma(sigma) if sigma else 'none'}" for name, sigma in noise["sigma"].items())
        basis = f"{noise['trainings']} of the seed"
        basis += f" and {status['retrained']['trainings']} of elites" if status["retrained"]["trainings"] else ""
        lines.append(Text(f"noise, one sigma over training seeds, from {basis}: {', '.join(sigmas)}"))
    return lines


def _seed_phase(status: Facts) -> str:
    """What a run does before its search; empty afterwards, and where no process works on it."""
    seed = status["seed"]
    return seed_phase(seed["trainings"], seed["planned"]) if status["phase"] in ("seed", "noise") else ""


def print_candidate(candidate: Facts, status: Facts) -> None:
    """Print everything about one candidate: prompt, answer, change and measurements."""
    console = stdout_console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    recipe = ("branch", "parents", "operator", "block", "role", "directive", "elite", "sources", "model", "temperature")
    for key in (*recipe, "intention", "outcome", "reason"):
        value = candidate[key]
        if value not in (None, "", []):
            table.add_row(key, Text(clean(", ".join(value) if isinstance(value, list) else str(value))))
    if candidate["fitness"]:
        for name in candidate["fitness"]:
            table.add_row(name, Text(_measured_text(status, name, candidate)))
        if candidate["trainings"] > 1:
            readings = "; ".join(fitness_text(reading) for reading in candidate["readings"])
            table.add_row("readings", Text(f"{candidate['trainings']}, of which the values are means: {readings}"))
        if candidate["fault"]:
            table.add_row("leads no more", Text(clean(candidate["fault"])))
        table.add_row("measured", _evidence_text(candidate["evidence"]))
    console.print(Text(f"candidate {candidate['id']}", "bold"))
    console.print(table)
    if candidate["log"]:
        console.print(Text("last output", "bold"), Text(visible(candidate["log"][-_LOG:])))
    if candidate["diff"]:
        console.print(Text("change against the seed", "bold"))
        console.print(Syntax(visible(candidate["diff"]), "diff", background_color="default", word_wrap=True))
    for call in candidate["calls"]:
        console.print(Text(f"\nprompt to {call['model']}", "bold"), Text(visible(call["prompt"])), sep="\n", soft_wrap=True)
        console.print(Text("\nanswer", "bold"), Text(visible(call["answer"] or "(none)")), sep="\n", soft_wrap=True)


def _measured_text(status: Facts, name: str, one: Facts) -> str:
    """A value with its distance from the seed's value, and that value."""
    seed, mean = status["seed"]["fitness"][name], seed_value(status, name)
    average = f", on average {format_number(mean)}" if mean != seed else ""
    reason = status["self_reported"].get(name)
    mark = f"; self-reported: {reason}" if reason else ""
    distance = format_distance(status, name, one["fitness"][name], one["trainings"])
    return f"{format_value(one, name)}  {distance}, the seed {format_number(seed)}{average}{mark}"


def _evidence_text(evidence: Facts) -> str:
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in evidence["seconds"].items())
    place = f"on {evidence['device']}, {evidence['waited']:.2f} s of waiting not counted"
    if (load := evidence.get("load")) is not None:
        place += f"; timed alone, at a load of the machine of {load:.1f}"
    return f"{stages}; {place}; peak {evidence['peak_memory'] / 2**20:.0f} MiB; isolation {evidence['isolation']}"


def print_lessons(lessons: Sequence[Facts], status: Facts) -> None:
    """Print a few lines for each lesson; changes in sigmas of the noise, or without noise in percent of the seed's value.

    Credit: how much more the candidates that were told the lesson gained than comparable ones that were not, in sigmas.
    """
    console = stdout_console()
    for lesson in lessons:
        console.print(Text(_lesson_text(lesson), _VERDICT_STYLES.get(lesson["verdict"], "")))
        effects = format_changes(status, lesson["effects"])
        details = (("measured", effects), ("reason", lesson["reason"]), ("explanation", lesson["insight"] or lesson["intention"]))
        for label, text in details:
            if text:
                console.print(Text(f"      {label}: {clean(text)}"), soft_wrap=True)
    if not lessons:
        console.print("No lessons yet.")


def _lesson_text(lesson: Facts) -> str:
    """`0007  better, likely real  mutate complex of Net about conv; credit +1.2 from 3 prompts, named in 2 answers`"""
    blocks = ", ".join(lesson["blocks"][:4])
    kinds = ", ".join(kind for kind in lesson["kinds"][:4] if kind not in lesson["blocks"])
    parts = (lesson["operator"], lesson["directive"], blocks and f"of {blocks}", kinds and f"about {kinds}")
    action = " ".join(filter(None, parts))
    prompts = f"{lesson['told']} prompt{'s' if lesson['told'] > 1 else ''}"
    named = f", named in {lesson['cited_by']} answer{'s' if lesson['cited_by'] > 1 else ''}" if lesson["cited_by"] else ""
    credit = f"credit {lesson['credit']:+.1f} from {prompts}{named}" if lesson["told"] else "in no prompt yet"
    end = {"alive": "", "dead": ", dropped"}.get(lesson["fate"], f", now part of {lesson['fate']}")
    return f"{lesson['id']}  {lesson['label']}  {action}; {credit}{end}"


def print_arms(arms: Facts) -> None:
    """Print a table for each kind of arm."""
    console = stdout_console()
    columns = ("candidates", "valid first answers", "trained", "better", "on the front", "USD", "hours of evaluation")
    for kind in ARM_KINDS:
        table = _number_table("", columns, title=kind)
        for arm in arms[kind]:
            share = f"{arm['valid'] / arm['children']:.0%}"
            values = (arm["children"], share, arm["trained"], arm["better"], arm["front"])
            table.add_row(Text(arm["name"][:60]), *map(str, values), f"{arm['usd']:.3f}", f"{arm['seconds'] / 3600:.2f}")
        console.print(table)
    for name, text in arms["written"].items():
        console.print(Text(f"{name}, written in this run: {clean(text)}"), soft_wrap=True)


def print_comparison(comparison: Facts) -> None:
    """Print a line for each run, and its hypervolume in ten steps."""
    console = stdout_console()
    equal = comparison["equal"]
    columns = ("trained", "USD", "worth", f"after {equal['trained']} trained", f"after {equal['usd']:.3f} USD")
    table = _number_table("run", columns)
    table.add_column("noise (one sigma)")
    for run in comparison["runs"]:
        sigmas = [f"{name} {format_sigma(sigma)}" for name, sigma in (run["noise"] or {}).items() if sigma]
        volumes = (f"{run[key]:.4f}" for key in ("worth", "at_equal_trained", "at_equal_usd"))
        noise = Text(", ".join(sigmas) or "not measured")
        table.add_row(Text(run["run"]), str(run["trained"]), f"{run['usd']:.3f}", *volumes, noise)
    console.print(table)
    console.print(_cost_table(comparison["runs"]))
    if any(run["cost"]["tokens_estimated"] for run in comparison["runs"]):
        console.print(Text(ESTIMATED, "dim"), soft_wrap=True)
    steps = sorted({round(equal["trained"] * tenth / 10) for tenth in range(11)})
    growth = _number_table("run", map(str, steps), title="worth after so many trained variants")
    for run in comparison["runs"]:
        growth.add_row(Text(run["run"]), *(f"{run['points'][step]['worth']:.4f}" for step in steps))
    console.print(growth)


def _cost_table(runs: Sequence[Facts]) -> Table:
    """What each run has paid for what it found."""
    columns = ("tokens", "from caches", "a trained variant", "a unit of worth", "USD", "a trained variant", "a unit of worth")
    table = _number_table("run", columns, title="cost, in all and for each trained variant and unit of worth gained")
    for run in runs:
        cost = run["cost"]
        total, *each = (tokens_text(cost, key) for key in ("tokens", "tokens_per_trained", "tokens_per_worth"))
        usd = (usd_text(cost, key) for key in ("usd", "usd_per_trained", "usd_per_worth"))
        table.add_row(Text(run["run"]), total, f"{cost['tokens_cached']:,}", *each, *usd)
    return table


def print_diff(text: str, known: Collection[str] = ()) -> None:
    """Print a diff: in colours on a terminal, else so that `git apply` can read it.

    `known`: characters that a pipe gets unchanged, those of the seed.
    """
    if sys.stdout.isatty():
        stdout_console().print(Syntax(visible(text), "diff", background_color="default", word_wrap=True))
    else:
        sys.stdout.write(visible(text, known))


def print_doctor(lines: Iterable[str]) -> None:
    """Print lines; those at the margin are headings."""
    console = stdout_console()
    for line in lines:
        console.print(Text(line, "" if line.startswith(" ") else "bold"), soft_wrap=True)


def print_checks(checks: Sequence[Facts]) -> None:
    """Print a line for each check. What it found may be hostile text of a candidate."""
    console = stdout_console()
    for check in checks:
        word, style = ("ok    ", "green") if check["passed"] else ("FAILED", "bold red")
        console.print(Text(f"{word} {check['check']}: {clean(check['found'])}", style), soft_wrap=True)


def _number_table(first: str, columns: Iterable[str], title: str | None = None) -> Table:
    """A table whose columns after the first are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table
