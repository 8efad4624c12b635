"""Anybody's script, the trusted side: a self-reported metric, and what can be measured of a process from outside.

One stage: the script runs in a child process in a private copy of its project. What it prints is its own word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.job import Job, Measured, Progress, Stop, Stopped
from sandbox.sandbox import Limits, Sandbox, TaskError
from sandbox.tasks import Task
from sandbox.tasks.script import metrics
from sandbox.tasks.script.command import Command
from sandbox.tasks.script.project import MAX_BYTES, Project
from sandbox.tasks.settings import SIZES, UNITS, quantity, refuse_unknown
from sandbox.tasks.stages import Stages, rough

REASON = "printed by the script itself, which evolves: nothing outside has checked it"
"""Why a metric is marked wherever it is shown."""
LOG = 1 << 20
"""Bytes of output that are searched for metrics: half of them from its beginning, half from its end."""
KEPT = 16_000
"""Characters of a failed script's output that are kept."""
SCRATCH = 256 << 20
"""Bytes that the script may write beside the copy of its project."""
_MEASURED = ("train_time", "memory")
_KEYS = ("name", "title", "command", "metrics", "copy", "leave_out", "readable", "snapshot")


def directions(told: Mapping[str, str]) -> dict[str, str]:
    """The objectives of a script: its metrics, and the time it takes if there is only one.

    A run needs two objectives. What it costs to train is the one that is measured outside and that everybody pays.
    """
    return {**told, "train_time": "min"} if len(told) == 1 else dict(told)


@dataclass(frozen=True)
class Settings:
    """What `[task]` and `[budget]` say, checked."""

    title: str
    text: str
    """The command as it was given."""
    command: Command
    metrics: Mapping[str, str]
    """`max` or `min` by name."""
    copy: int
    """Bytes that the project's copy may have."""
    leave_out: tuple[str, ...]
    readable: tuple[str, ...]
    """Files or folders of the project that are not copied but can be read where they are."""
    seconds: float
    memory: int

    @classmethod
    def read(cls, task: Mapping[str, Any], budget: Mapping[str, Any]) -> Settings:
        refuse_unknown("task", task, _KEYS)
        refuse_unknown("budget", budget, ("time_limit", "memory"))
        if not isinstance(task.get("command"), str):
            raise TaskError('task.command is missing: say how the script is run, such as command = "python train.py".')
        told = task.get("metrics")
        if not isinstance(told, Mapping) or not told or any(way not in ("max", "min") for way in told.values()):
            raise TaskError('task.metrics is missing: name what the script prints, such as metrics = {val_loss = "min"}.')
        if clash := sorted(set(_MEASURED) & told.keys()):
            raise TaskError(f"task.metrics: {clash[0]} is measured in any case; choose another name for the script's own.")
        lists = {key: task.get(key, []) for key in ("leave_out", "readable")}
        for key, listed in lists.items():
            if not isinstance(listed, list | tuple) or not all(isinstance(item, str) and item for item in listed):
                raise TaskError(f"task.{key} must be a list of names in the project's folder.")
        command = Command.parse(task["command"])
        wanted = " and ".join(f"{name} ({'more' if way == 'max' else 'less'} is better)" for name, way in told.items())
        return cls(
            title=str(task.get("title") or f"Improve what the program `{command.target}` reports: {wanted}."),
            text=task["command"],
            command=command,
            metrics=dict(told),
            copy=int(quantity(task, "copy", f"{MAX_BYTES >> 20}MiB", SIZES, "task")),
            leave_out=tuple(lists["leave_out"]),
            readable=tuple(lists["readable"]),
            seconds=quantity(budget, "time_limit", "10min", UNITS),
            memory=int(quantity(budget, "memory", "4GiB", SIZES)),
        )


class ScriptTask(Task):
    """The task `script`. Objectives: the script's metrics (its own word), train_time and memory (measured outside)."""

    sealed = False

    @classmethod
    def open(
        cls, task: Mapping[str, Any], budget: Mapping[str, Any], files: tuple[str, ...], cache: Path, folder: Path
    ) -> ScriptTask:
        """Packs the project into `cache`, or finds what the run began with. Raises TaskError."""
        settings = Settings.read(task, budget)
        if not settings.command.stands_in(folder):
            looked = " or ".join(settings.command.candidates())
            raise TaskError(f"task.command: {settings.text!r} cannot be run: there is no {looked} in {folder}.")
        readable = {name: _readable(name, folder.resolve()) for name in settings.readable}
        project = Project.find(str(task.get("snapshot", "")), cache)  # what the run began with, if it is still there
        if project is None:
            leave_out = (*settings.leave_out, *(name.rstrip("/") for name in readable))
            project = Project.pack(folder.resolve(), files, leave_out, settings.copy, cache)
        return cls(settings, project, readable, files)

    def __init__(self, settings: Settings, project: Project, readable: Mapping[str, Path], files: tuple[str, ...]) -> None:
        self._settings, self._project, self._readable, self._files = settings, project, readable, files
        self.title = settings.title
        self.objectives = (*settings.metrics, *_MEASURED)
        self.directions = directions(settings.metrics)
        self.pins = {"snapshot": project.digest}
        self.basis = {"the project's other files": project.digest}

    def facts(self) -> dict[str, str]:
        s = self._settings
        names = " and ".join(s.metrics)
        return {
            "Program": (
                f"`{s.text}` is run from beginning to end, in a private copy of its project. What may be rewritten: "
                f"{', '.join(f'`{path}`' for path in self._files)}."
            ),
            "Metric": (
                f"{names}: read from what the program prints (`{next(iter(s.metrics))}: 0.123`, the last one counts), so keep "
                f"the line that prints it. It is self-reported ({REASON}), and a person reviews every change: how it is "
                "computed, and on which data, must stay as it is. A better number by another measurement is no improvement."
            ),
            "Measured outside": (
                "train_time, the seconds of the whole run, to two digits and whole seconds, and memory, its largest private "
                "memory in MiB, to two digits; differences below a tenth may be noise."
            ),
            "Chance": "torch, numpy and random are seeded before the program starts; EVOLVE_SEED holds the number.",
            "Limits": (
                f"{s.seconds:g} s and {s.memory / 2**30:.3g} GiB for one run; no network, no other processes (a DataLoader works "
                "without workers); what it writes is gone afterwards."
            ),
        }

    def evaluate(
        self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None
    ) -> Measured | Stopped:
        """Raises SandboxUnavailable when the machine is at fault. Says nothing on the way."""
        try:
            return self._evaluate(job, Stages(job, sandbox))
        except Stop as stop:
            return replace(stop.stopped, log=stop.stopped.log[-KEPT:])

    def _evaluate(self, job: Job, stages: Stages) -> Measured:
        s, size = self._settings, self._project.archive.stat().st_size
        limits = Limits(s.seconds, s.memory, result=16, scratch=SCRATCH + size, log=LOG)
        options = {
            "target": s.command.target,
            "is_module": s.command.is_module,
            "arguments": list(s.command.arguments),
            "links": {name: str(place) for name, place in self._readable.items() if not Path(name).is_absolute()},
            "training_seed": job.training_seed,
        }
        inputs = {"project": self._project.archive}
        report = stages.run(
            "fit", "sandbox.tasks.script.inside:run", limits, inputs, options, readable=tuple(self._readable.values())
        )
        values = metrics.read(report.log, tuple(s.metrics))
        # A short run's time is mostly chance, and each chance would be another member of the front.
        whole_seconds = max(1.0, round(rough(report.seconds)))
        return stages.measured({**values, "train_time": whole_seconds, "memory": rough(report.peak_memory / 2**20)})


def _readable(name: str, folder: Path) -> Path:
    """The real place of what a script may read without a copy: below the project's folder, or an absolute path."""
    place = (folder / name).resolve()
    if ".." in Path(name).parts:
        raise TaskError(f"task.readable: {name} lies outside of the project's folder; give its absolute path, {place}.")
    if not place.exists():
        raise TaskError(f"task.readable: there is no {folder / name}.")
    if Path.home().resolve().is_relative_to(place) or folder.is_relative_to(place):
        raise TaskError(f"task.readable: {name} holds your home folder or the whole project; name the data alone.")
    return place
