"""What a person sees: the live view of a run, and the facts of a journal as tables.

Text of candidates and models (reasons, logs, answers) is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from agent.differences import change_text, effect_text, usual_of
from agent.events import (
    AskedAgain,
    Bred,
    Drawn,
    Event,
    Foretold,
    GenerationEnded,
    Heard,
    Notice,
    Recalled,
    RunStarted,
    Settled,
    StopRequested,
)
from agent.individual import INVALID_STAGES, SEED_ID, Duplicate, Failure, Individual, Outcome, listed
from agent.llm import ModelRests, ModelReturned
from agent.prompting import clean
from agent.search import Search
from sandbox.tasks import reported

Facts = Mapping[str, Any]


def number(value: float) -> str:
    """Counts with thousands separators, shares with four digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 or (float(value).is_integer() and abs(value) > 1) else f"{value:.4f}"


def fitness_text(fitness: Mapping[str, float] | None) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in (fitness or {}).items())


def slots_text(devices: Sequence[str]) -> str:
    """`4 slots on cpu`, `2 slots on cuda:0, 2 slots on cuda:1`."""
    told = (f"{count} slot{'s' if count > 1 else ''} on {device}" for device, count in Counter(devices).items())
    return ", ".join(told)


class _Unheard:
    """A stream that nobody has to read: a run outlives its terminal, and the program that its output went to."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._gone = stream, False

    def write(self, text: str) -> int:
        if not self._gone:
            self._trying(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        if not self._gone:
            self._trying(self._stream.flush)

    def _trying(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError:
            self._gone = True
        except RuntimeError:  # a signal came in the middle of a write, and its handler writes too: one of them is lost
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Live:
    """Follows a run on stderr: a panel that redraws itself on a terminal, else a line for each child."""

    def __init__(self, run: str) -> None:
        self._run, self._began = run, time.monotonic()
        self._console = Console(file=cast(IO[str], _Unheard(sys.stderr)))
        self._counts: Counter[str] = Counter()
        self._breeding: set[str] = set()
        self._training: set[str] = set()
        self._heard: dict[str, str] = {}
        """What each training said of itself last."""
        self._generation, self._generations = 0, 0
        self._isolation, self._slots = "?", ""
        self._hypervolume = 0.0
        self._front: list[str] = []
        self._fitness: dict[str, Mapping[str, float]] = {}
        self._lines: list[Text] = []
        self._forecast = ""
        self._resting: dict[str, tuple[float, str]] = {}
        """By model: until when, on the monotonic clock, and why."""
        self._panel = RichLive(console=self._console, refresh_per_second=4, get_renderable=self._render, transient=True)

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._panel.start()
        else:
            self.say(f"{self._run}: checking the seed, then training it")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._panel.stop()

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def see(self, event: Event | Notice) -> None:
        match event:
            case StopRequested(reason):
                self._tell(Text(f"{reason}: finishing what is under way; once more stops at once", "bold yellow"))
            case Foretold(words, aloud):
                self._forecast = words
                if aloud:
                    self._tell(Text(f"forecast: {words}", "bold"))
            case ModelRests(model, seconds, reason, alone):
                self._resting[model] = time.monotonic() + seconds, reason
                what = "no model answers, the run waits" if alone else "the other models take over"
                self._tell(Text(f"{_line(reason)[:200]}: left alone for {seconds:,.0f} s; {what}", "bold yellow"))
            case ModelReturned(model):
                self._resting.pop(model, None)
                self._tell(Text(f"{model} answers again", "bold"))
            case Heard(id, progress):
                self._heard[id] = str(progress)
            case RunStarted():
                search = event.config["search"]
                assert isinstance(search, dict)
                self._isolation, self._generations = event.isolation, Search(**search).stages
                self._slots = slots_text(event.devices)
                for change in event.accepted:
                    self._tell(Text(f"changed since the last start, and accepted: {change}", "yellow"))
                task = event.config["task"]
                assert isinstance(task, dict)
                for name, reason in reported(task).items():
                    self._tell(Text(f"{name} is self-reported: {reason}", "yellow"))
            case AskedAgain(calls):
                told = f"{calls} model calls were out when the last process ended: they are asked, and may be billed, again"
                self._tell(Text(told, "yellow"))
            case Recalled(outcome):
                self._counts["proposed"] += outcome.id != SEED_ID
                self._count(outcome)
            case Drawn(birth):
                self._counts["proposed"] += 1
                self._generation = birth.generation
                self._breeding.add(birth.id)
            case Bred(variant):
                self._breeding.discard(variant.id)
                self._training.add(variant.id)
            case Settled(outcome):
                self._breeding.discard(outcome.id)
                self._training.discard(outcome.id)
                self._heard.pop(outcome.id, None)
                self._settle(outcome)
            case GenerationEnded(number=n, front=front, hypervolume=hypervolume):
                self._front, self._hypervolume = list(front), hypervolume
                best = "; ".join(f"{id} {fitness_text(self._fitness.get(id))}" for id in front[:6])
                more = f"; and {len(front) - 6} more" if len(front) > 6 else ""
                told = f"generation {n} of {self._generations}: hypervolume {hypervolume:.4f}, front: {best}{more}"
                self._tell(Text(told, "bold"))
            case _:
                pass

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Individual(fitness=fitness):
                self._fitness[outcome.id] = fitness.values
                self._counts["trained"] += outcome.id != SEED_ID
            case Failure(stage=stage):
                self._counts["invalid" if stage in INVALID_STAGES else "failed"] += 1
            case Duplicate():
                self._counts["duplicate"] += 1

    def _settle(self, outcome: Outcome) -> None:
        self._count(outcome)
        birth = outcome.birth
        blocks = listed(birth.about(() if isinstance(outcome, Duplicate) else outcome.changed))
        born = SEED_ID if outcome.id == SEED_ID else f"{outcome.id}  {birth.operator} {blocks}".rstrip()
        born += f" ({birth.directive})" if birth.directive else ""
        match outcome:
            case Individual(fitness=fitness, evidence=evidence):
                seconds = sum(evidence.seconds.values())
                self._tell(Text(f"{born}: {fitness_text(fitness.values)}  in {seconds:.1f} s"))
            case Failure(stage=stage, reason=reason):
                self._tell(Text(f"{born}: stopped at {stage}: {reason[:160]}", "yellow"))
            case Duplicate(twin=twin):
                self._tell(Text(f"{born}: same genome as {twin}", "dim"))

    def _tell(self, line: Text) -> None:
        self._lines = [*self._lines[-7:], line]
        if not self._console.is_terminal:  # rich would take a millisecond to lay it out
            print(line.plain, file=self._console.file, flush=True)

    def _render(self) -> Panel:
        elapsed = int(time.monotonic() - self._began)
        head = Text(
            f"generation {self._generation}/{self._generations}   "
            + "   ".join(f"{kind} {self._counts[kind]}" for kind in ("proposed", "trained", "invalid", "failed", "duplicate"))
            + f"   breeding {len(self._breeding)}   in evaluation {len(self._training)}"
        )
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("front")
        for id in [SEED_ID, *(i for i in self._front if i != SEED_ID)][:8]:
            table.add_row(Text(f"{id:>5}  {fitness_text(self._fitness.get(id))}", "green" if id != SEED_ID else ""))
        title = f"{self._run} - {elapsed // 60}:{elapsed % 60:02d} - {self._slots} - isolation {self._isolation}"
        waiting = [] if self._lines else [Text("training the seed ...", "dim")]
        forecast = [Text(f"forecast: {self._forecast}", "dim")] if self._forecast else []
        heard = [Text(f"{id}  {told}", "dim") for id, told in sorted(dict(self._heard).items())[:8]]
        words = [*waiting, *self._lines, *heard]
        return Panel(Group(head, *forecast, *self._rests(), table, *words), title=title, title_align="left")

    def _rests(self) -> list[Text]:
        """A line for each model that is left alone."""
        now = time.monotonic()
        left = {model: max(0.0, until - now) for model, (until, _) in list(self._resting.items())}
        return [Text(f"{model} is asked again in {seconds:,.0f} s", "bold yellow") for model, seconds in left.items()]


_SCREEN = 24
"""Lines, where the height of the screen is not known."""


def print_status(facts: Facts) -> None:
    """One screen: state, forecast, counts, spend, front."""
    console = _stdout()
    spend, counts = facts["spend"], facts["counts"]
    minutes, seconds = divmod(int(spend["seconds"]), 60)
    reason = f" ({_line(facts['reason'])})" if facts["reason"] else ""
    lines = [Text(f"{facts['run']}: {facts['state']}{reason}, {minutes}:{seconds:02d} min", "bold")]
    if facts["forecast"]:
        lines.append(Text(f"forecast: {facts['forecast']['words']}"))
    for one in facts["waiting"]:
        lines.append(Text(f"{one['model']} is left alone until {one['until']}: {_line(one['reason'])}", "yellow"))
    lines.append(Text("  ".join(f"{kind} {count}" for kind, count in counts.items())))
    unknown = spend["calls_without_a_known_price"]
    usd = f"{spend['usd']:.4f} USD" + (f" and {unknown} calls of unknown price" if unknown else "")
    if unknown and unknown == spend["llm_calls"]:
        usd = "price unknown"
    tokens = f"{spend['tokens_in']:,} tokens in, {spend['tokens_out']:,} out"
    place = f"{slots_text(facts['devices'])}, isolation {facts['isolation']}"
    lines.append(Text(f"{spend['llm_calls']} model calls, {tokens}, {usd}; {place}"))
    for reason, count in facts["failures"].items():
        lines.append(Text(f"  {count} x {_line(reason)[:150]}", "yellow"))
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
        rows.append((mark, one["id"], str(one["generation"]), parents, *asked, _line(told)))
    # By hand: a table of ten thousand rows would take rich many seconds.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if console.is_terminal:
            line = line[: console.width]
            line = f"\x1b[32m{line}\x1b[0m" if row[0] else line
        print(line, file=console.file)
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

    Credit: how children that were shown the lesson fared against the usual child, in sigma, added up and fading.
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


def _line(text: str) -> str:
    return " ".join(clean(text).split())


def _warnings(reported: Mapping[str, str]) -> list[Text]:
    return [Text(f"{name} is self-reported: {reason}.", "yellow") for name, reason in reported.items()]


def _stdout() -> Console:
    """Wide when piped, so that no cell is cut for a reader that is a program."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)
