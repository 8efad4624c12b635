"""Show a run that is under way on stderr: a panel on a terminal, else a line for each candidate.

Text of candidates and models (reasons, logs, answers) is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import IO, cast

from rich.console import Group, RenderableType
from rich.live import Live as RichLive
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.cli.confirmation import ConfirmationView
from agent.cli.console import LossyStream, VisibleConsole, fitness_text, slots_text
from agent.core.objectives import Fitness
from agent.core.text import list_names, one_line, visible
from agent.journal.events import (
    Advised,
    Answered,
    Asked,
    CallsRepeated,
    EliteRetrained,
    Event,
    ForecastUpdated,
    GenerationEnded,
    ModelChecked,
    ModelsChecking,
    NoiseMeasured,
    Notice,
    ProgressReported,
    Proposed,
    Restored,
    Retrained,
    RunStarted,
    SealOpened,
    SearchEnded,
    SeedFailed,
    SeedRepeated,
    SeedTraining,
    Settled,
    ShortlistFrozen,
    StopRequested,
    Told,
    VerdictsReached,
)
from agent.journal.tracker import Tracker
from agent.llm import CoolDownEnded, CoolDownStarted
from agent.population.candidate import INVALID_STAGES, SEED_ID, Duplicate, Failure, Individual, Outcome
from agent.review.facts import noise_lines, seed_phase
from agent.review.null import NULL_RUN, is_null
from agent.search.settings import SearchSettings
from sandbox.tasks import self_reported

_LINES, _FRONT_ROWS, _PROGRESS_ROWS = 8, 8, 8
"""Rows of the panel: the last lines, members of the front, trainings that report their progress."""
_FRONT_IN_LINE = 6
"""The most members of the front that the line at the end of a generation names."""
_REASON = 160
"""Characters of a reason in a line."""
_CHANGES = 10
"""The most changes since the last start that are named: another version of the program changes every file."""
INBOX = "inbox:"
"""How the names of models begin whose answers a person writes."""
_COUNTED = ("proposed", "trained", "invalid", "failed", "duplicate")


class Live:
    """Follows the events of a run. Events come from several threads, one at a time; rich redraws from its own."""

    def __init__(self, run: str, first_line: str = "checking the settings and the seed") -> None:
        """`first_line`: what happens before the first event."""
        self._run, self._started_at, self._first_line = run, time.monotonic(), first_line
        self._console = VisibleConsole(file=cast(IO[str], LossyStream(sys.stderr)))
        self._tracker = Tracker()
        self._counts: Counter[str] = Counter()
        self._progress: dict[str, str] = {}
        """The last progress report of each training."""
        self._generation, self._settings = 0, SearchSettings()
        self._isolation, self._slots = "?", ""
        self._front: list[str] = []
        self._fitness: dict[str, Mapping[str, float]] = {}
        """Means where there is more than one reading."""
        self._readings: dict[str, list[Fitness]] = {}
        self._lines: list[Text] = []
        self._forecast = ""
        self._phase = ""
        """What goes on while the seed is trained; empty before and after that."""
        self._questions = 0
        """That a person has not answered yet."""
        self._confirmation = ConfirmationView()
        self._cooling_down: dict[str, float] = {}
        """By model: until when, on the monotonic clock."""
        self._panel = RichLive(console=self._console, refresh_per_second=4, get_renderable=self._render, transient=True)

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._panel.start()
        else:
            self.print_line(f"{self._run}: {self._first_line}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._panel.stop()

    def print_line(self, text: str) -> None:
        """Print a line above the panel, where it stays after the run."""
        self._console.print(Text(text), soft_wrap=True)

    def see(self, event: Event | Notice) -> None:
        """Show what an event changes."""
        match event:
            case StopRequested(reason):
                self._add_line(f"{reason}: finishing what is under way; once more stops at once", "bold yellow")
            case Told(text):
                self._add_line(text)
            case Advised(text):
                self._add_line(text, "bold yellow")
            case ForecastUpdated(text, announce):
                self._forecast = text
                if announce:
                    self._add_line(f"forecast: {text}", "bold")
            case CoolDownStarted(model, seconds, reason, alone):
                self._cooling_down[model] = time.monotonic() + seconds
                effect = "no model answers, the run waits" if alone else "the other models take over"
                self._add_line(f"{one_line(reason)[:200]}: cools down for {seconds:,.0f} s; {effect}", "bold yellow")
            case CoolDownEnded(model):
                self._cooling_down.pop(model, None)
                self._add_line(f"{model} answers again", "bold")
            case ModelsChecking(models):
                self._phase = f"asking {list_names(models)} one short question, before anything is trained"
                self._add_line(self._phase)
            case ModelChecked(model, seconds):
                self._add_line(f"{one_line(model)} answers, in {seconds:.1f} s")
            case SeedTraining(made, planned):
                self._phase = seed_phase(made, planned)
                if self._phase:
                    self._add_line(self._phase)
            case NoiseMeasured(noise):
                self._phase = ""
                for line in noise_lines(noise):
                    self._add_line(line)
            case ProgressReported(id, progress):
                self._progress[id] = str(progress)
            case CallsRepeated(calls):
                line = f"{calls} model calls had no answer when the last process ended: they are made, and may be billed, again"
                self._add_line(line, "yellow")
            case Restored(outcome):
                self._counts["proposed"] += outcome.id != SEED_ID
                self._count(outcome)
            case RunStarted():
                self._start(event)
            case GenerationEnded():
                self._end_generation(event)
            case SearchEnded() | ShortlistFrozen() | SealOpened() | Retrained() | VerdictsReached():
                if isinstance(event, Retrained):
                    self._progress.pop(Retrained.id_of(event.id, event.training_seed), None)
                for line, style in self._confirmation.lines(event):
                    self._add_line(line, style)
            case _:
                self._follow(event)

    def _start(self, event: RunStarted) -> None:
        search, task, objectives = event.config["search"], event.config["task"], event.config.get("objectives", {})
        assert isinstance(search, dict) and isinstance(task, dict) and isinstance(objectives, dict)
        limits = event.config.get("limits")
        variants = limits.get("variants") if isinstance(limits, dict) else None
        self._isolation, self._settings = event.isolation, SearchSettings(**search).within(variants)
        self._slots = slots_text(event.devices)
        for change in event.accepted[:_CHANGES]:
            self._add_line(f"changed since the last start, and accepted: {change}", "yellow")
        if len(event.accepted) > _CHANGES:
            self._add_line(f"and {len(event.accepted) - _CHANGES} more changes, all in the journal", "yellow")
        if is_null(event.config):
            self._confirmation.is_null = True
            self._add_line(NULL_RUN, "bold yellow")
        for name, reason in self_reported(task, objectives).items():
            self._add_line(f"{name} is self-reported: {reason}", "yellow")

    def _end_generation(self, event: GenerationEnded) -> None:
        self._front = list(event.front)
        best = "; ".join(f"{id} {fitness_text(self._fitness.get(id))}" for id in self._front[:_FRONT_IN_LINE])
        more = f"; and {len(self._front) - _FRONT_IN_LINE} more" if len(self._front) > _FRONT_IN_LINE else ""
        head = f"{self._progress_text(event.number)}: worth {event.hypervolume:.2f}"
        self._add_line(f"{head}, front: {best}{more}", "bold")

    def _progress_text(self, number: int) -> str:
        """How far the search is when a generation ends: the steady schedule has no generations, only candidates."""
        settings = self._settings
        if settings.schedule == "generational":
            return f"generation {number} of {settings.generations}"
        return f"{number * settings.population} of {settings.candidates} candidates"

    def _follow(self, event: Event) -> None:
        """Show an event of one candidate."""
        self._tracker.see(event)
        match event:
            case Proposed(candidate):
                self._counts["proposed"] += 1
                self._generation = candidate.generation
            case Asked(model=model) if model.startswith(INBOX):
                if not self._questions:
                    self._add_line(_inbox_text(model), "bold")
                self._questions += 1
            case Answered(completion=completion) if completion.model.startswith(INBOX):
                self._questions -= 1
            case SeedRepeated(training_seed) | SeedFailed(training_seed):
                self._progress.pop(SeedRepeated.id_of(training_seed), None)
            case EliteRetrained(id, training_seed, fitness, reason):
                self._progress.pop(EliteRetrained.id_of(id, training_seed), None)
                self._readings[id] = [*self._readings.get(id, ()), *((fitness,) if fitness else ())]
                self._fitness[id] = Fitness.mean(self._readings[id]).values
                text = f"another reading, {fitness_text(fitness.values)}" if fitness else "failed with another training seed"
                self._add_line(f"{id} trained again: {text}{f'; it leads no more: {reason[:_REASON]}' if reason else ''}")
            case Settled(outcome):
                self._tracker.close(outcome.id)
                self._progress.pop(outcome.id, None)
                self._count(outcome)
                self._add_line(*_settled_line(outcome))
            case _:
                pass

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Individual(fitness=fitness):
                self._fitness[outcome.id] = fitness.values
                self._readings[outcome.id] = list(outcome.readings) or [fitness]
                self._counts["trained"] += outcome.id != SEED_ID
            case Failure(stage=stage):
                self._counts["invalid" if stage in INVALID_STAGES else "failed"] += 1
            case Duplicate():
                self._counts["duplicate"] += 1

    def _add_line(self, text: str, style: str = "") -> None:
        line = Text(visible(text), style)
        self._lines = [*self._lines[1 - _LINES :], line]
        if not self._console.is_terminal:  # rich would take a millisecond to lay it out
            print(line.plain, file=self._console.file, flush=True)

    def _render(self) -> Panel:
        elapsed = int(time.monotonic() - self._started_at)
        title = f"{self._run} - {elapsed // 60}:{elapsed % 60:02d} - {self._slots} - isolation {self._isolation}"
        forecast = [Text(f"forecast: {self._forecast}", "dim")] if self._forecast else []
        lines = self._lines or [Text(f"{self._first_line} ...", "dim")]
        training = [Text(f"{id}  {text}", "dim") for id, text in sorted(dict(self._progress).items())[:_PROGRESS_ROWS]]
        rows: list[RenderableType] = [self._head(), *forecast, *self._waiting(), self._front_table(), *lines, *training]
        return Panel(Group(*rows), title=title, title_align="left")

    def _head(self) -> Text:
        if self._confirmation.is_under_way:
            return Text(self._confirmation.head(), "bold")
        if self._phase:
            return Text(self._phase, "bold")
        counts = "   ".join(f"{kind} {self._counts[kind]}" for kind in _COUNTED)
        open_candidates = self._tracker.open()
        evaluating = sum(one.bred for one in open_candidates)
        breeding = len(open_candidates) - evaluating
        steady = self._settings.schedule != "generational"
        plan = f"{self._settings.candidates} candidates planned" if steady else self._progress_text(self._generation)
        return Text(f"{plan}   {counts}   breeding {breeding}   in evaluation {evaluating}")

    def _front_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("front")
        for id in [SEED_ID, *(one for one in self._front if one != SEED_ID)][:_FRONT_ROWS]:
            table.add_row(Text(f"{id:>5}  {fitness_text(self._fitness.get(id))}", "green" if id != SEED_ID else ""))
        return table

    def _waiting(self) -> list[Text]:
        """A line for each model that cools down."""
        now = time.monotonic()
        left = {model: max(0.0, until - now) for model, until in list(self._cooling_down.items())}
        open = [Text(f"waiting for {self._questions} answers in the inbox", "bold yellow")] if self._questions else []
        return open + [Text(f"{model} is asked again in {seconds:,.0f} s", "bold yellow") for model, seconds in left.items()]


def _inbox_text(model: str) -> str:
    folder = one_line(model.removeprefix(INBOX))
    return f"waiting for answers in {folder}: read 0001.prompt.md there, and write 0001.answer.md beside it"


def _settled_line(outcome: Outcome) -> tuple[str, str]:
    """(text, style) of the line for a candidate that has settled."""
    candidate = outcome.candidate
    blocks = list_names(candidate.about(() if isinstance(outcome, Duplicate) else outcome.changed))
    name = SEED_ID if outcome.id == SEED_ID else f"{outcome.id}  {candidate.operator} {blocks}".rstrip()
    name += f" ({candidate.directive})" if candidate.directive else ""
    match outcome:
        case Individual(fitness=fitness, evidence=evidence):
            return f"{name}: {fitness_text(fitness.values)}  in {sum(evidence.seconds.values()):.1f} s", ""
        case Failure(stage=stage, reason=reason):
            return f"{name}: stopped at {stage}: {reason[:_REASON]}", "yellow"
        case Duplicate(twin=twin):
            return f"{name}: same genome as {twin}", "dim"
