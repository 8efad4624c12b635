"""What a person sees of a run that is under way: a panel on a terminal, else a line for each child.

Text of candidates and models (reasons, logs, answers) is hostile: it is shown as plain text, never as markup.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agent.cli.tables import fitness_text, one_line, slots_text
from agent.journal.events import (
    Bred,
    CallsRepeated,
    Event,
    ForecastUpdated,
    GenerationEnded,
    Notice,
    ProgressReported,
    Proposed,
    Restored,
    RunStarted,
    Settled,
    StopRequested,
)
from agent.llm import CoolDownEnded, CoolDownStarted
from agent.population.candidate import INVALID_STAGES, SEED_ID, Duplicate, Failure, Individual, Outcome, listed
from agent.search.settings import SearchSettings
from sandbox.tasks import self_reported


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
            case ForecastUpdated(text, announce):
                self._forecast = text
                if announce:
                    self._tell(Text(f"forecast: {text}", "bold"))
            case CoolDownStarted(model, seconds, reason, alone):
                self._resting[model] = time.monotonic() + seconds, reason
                what = "no model answers, the run waits" if alone else "the other models take over"
                self._tell(Text(f"{one_line(reason)[:200]}: left alone for {seconds:,.0f} s; {what}", "bold yellow"))
            case CoolDownEnded(model):
                self._resting.pop(model, None)
                self._tell(Text(f"{model} answers again", "bold"))
            case ProgressReported(id, progress):
                self._heard[id] = str(progress)
            case RunStarted():
                search = event.config["search"]
                assert isinstance(search, dict)
                self._isolation, self._generations = event.isolation, SearchSettings(**search).stages
                self._slots = slots_text(event.devices)
                for change in event.accepted:
                    self._tell(Text(f"changed since the last start, and accepted: {change}", "yellow"))
                task = event.config["task"]
                assert isinstance(task, dict)
                for name, reason in self_reported(task).items():
                    self._tell(Text(f"{name} is self-reported: {reason}", "yellow"))
            case CallsRepeated(calls):
                told = f"{calls} model calls were out when the last process ended: they are asked, and may be billed, again"
                self._tell(Text(told, "yellow"))
            case Restored(outcome):
                self._counts["proposed"] += outcome.id != SEED_ID
                self._count(outcome)
            case Proposed(candidate):
                self._counts["proposed"] += 1
                self._generation = candidate.generation
                self._breeding.add(candidate.id)
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
        candidate = outcome.candidate
        blocks = listed(candidate.about(() if isinstance(outcome, Duplicate) else outcome.changed))
        born = SEED_ID if outcome.id == SEED_ID else f"{outcome.id}  {candidate.operator} {blocks}".rstrip()
        born += f" ({candidate.directive})" if candidate.directive else ""
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
