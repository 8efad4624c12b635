"""The trusted side of the task `script`: self-reported metrics, and what can be measured of a process from outside.

There is one stage: the script runs in a process of its own, in a private copy of its project. What it prints is its own claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.isolation import levels
from sandbox.sandbox import CallLimits, Sandbox, TaskError
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailed, StageFailure
from sandbox.tasks.common.stages import Stages, explain, rough
from sandbox.tasks.common.task import Task, TaskTables
from sandbox.tasks.script import metrics
from sandbox.tasks.script.printed import told_lines
from sandbox.tasks.script.project import Project
from sandbox.tasks.script.readable import ReadablePlace
from sandbox.tasks.script.roots import checked_roots, found_roots, missing_module
from sandbox.tasks.script.settings import MEASURED, ScriptSettings

REASON = "printed by the script itself, which evolves: nothing outside has checked it"
"""The reason for marking such a metric wherever it is shown."""
LOG = 1 << 20
"""Bytes of output that are searched for metrics: half of them from its beginning, half from its end."""
KEPT = 16_000
"""Characters of a failed script's output that are kept."""
TRY_SECONDS = 60.0
"""The longest that the seed may take, before the run, to begin to run each of its files."""
RESULT = 64 << 10
"""Bytes: a line for each file that did not run."""
_INSIDE = "sandbox.tasks.script.inside"
SCRATCH = 256 << 20
"""Bytes that the script may write in addition to the copy of its project."""


def directions(own: Mapping[str, str]) -> dict[str, str]:
    """Return the objectives of a script: its `own` metrics, and train_time if there is only one metric.

    A run needs two objectives, and the training time can be measured outside for every script.
    """
    return {**own, "train_time": "min"} if len(own) == 1 else dict(own)


class ScriptTask(Task):
    """The task `script`. Objectives: the script's metrics (its own claims), train_time and memory (measured outside)."""

    exact = frozenset[str]()  # what a metric depends on only the script knows, whatever it is called

    @classmethod
    def open(cls, tables: TaskTables) -> ScriptTask:
        """Open the task: pack the project into `cache`, or find the copy that the run began with. Raises TaskError."""
        task, files, cache, folder = tables.task, tables.files, tables.cache, tables.folder
        settings = ScriptSettings.read(task, tables.budget)
        roots = checked_roots(settings.pythonpath, folder)
        if "snapshot" not in task:  # a later process of the run keeps the folders that the run began with
            roots = tuple(dict.fromkeys((*roots, *found_roots(folder, files))))
        settings = replace(settings, pythonpath=roots)
        if not settings.command.exists_in(folder, roots):
            paths = " or ".join(settings.command.candidates(roots))
            raise TaskError(f"task.command: {settings.text!r} cannot be run: there is no {paths} in {folder}.")
        readable = tuple(ReadablePlace.find(name, folder.resolve(), Path.cwd()) for name in settings.readable)
        project = Project.find(str(task.get("snapshot", "")), cache)  # the copy that the run began with, if it still exists
        if project is None:
            leave_out = (*settings.leave_out, *(place.name.rstrip("/") for place in readable))
            project = Project.pack(folder.resolve(), files, leave_out, settings.copy, cache)
        return cls(settings, project, readable, tables)

    def __init__(
        self, settings: ScriptSettings, project: Project, readable: tuple[ReadablePlace, ...], tables: TaskTables
    ) -> None:
        self._settings, self._project, self._readable = settings, project, readable
        self._files, self._folder = tables.files, tables.folder.resolve()
        self.title = settings.title
        self.objectives = (*settings.metrics, *MEASURED)
        self.directions = directions(settings.metrics)
        self.test_note = "nothing can be sealed from a script, so that only repeated trainings confirm"
        roots = {"pythonpath": list(settings.pythonpath)} if settings.pythonpath else {}
        places = {"readable": [place.name for place in readable]} if readable else {}
        self.pins = {"snapshot": project.digest, **roots, **places}
        self.provenance = {"the project's other files": project.digest}

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

    def files_beside(self) -> Mapping[str, bytes]:
        """The private copy of the project, of which no one knows what the script reads."""
        return self._project.files()

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. Raises SandboxUnavailable if the machine is at fault. `progress` is never called."""
        try:
            return self._evaluate(job, Stages(job, sandbox, locks=True))
        except StageFailed as failed:
            reason = failed.failure.reason + self._remedy(failed.failure.log)
            return replace(failed.failure, reason=reason, log=failed.failure.log[-KEPT:])

    def check(self, job: Job, sandbox: Sandbox) -> StageFailure | None:
        """Run the seed until each of its files has begun to run from the private copy: one that never does cannot evolve."""
        limits = self._limits(min(TRY_SECONDS, self._settings.seconds))
        stages = Stages(job, sandbox, locks=True)
        report = stages.report("smoke", f"{_INSIDE}:try_out", limits, *self._given(job), readable=self._may_read)
        if report.ok:
            unread = [line.split("\t") for line in report.result.decode("utf-8", "replace").splitlines()]
            reason = self._never_runs(unread[0][0], ascii(unread[0][-1])[1:-1]) if unread else ""
        else:
            # Out of time or memory, or without the GPU that only a training has: its first training will show what is wrong.
            told = report.cause == "exit" and "cuda" not in report.log.lower()
            reason = explain(report, limits, self._files) + self._remedy(report.log) if told else ""
        return StageFailure("smoke", reason, report.log[-KEPT:]) if reason else None

    def _never_runs(self, file: str, instead: str) -> str:
        """`instead`: the file that the script imported in its place; empty if there is none."""
        if not instead:
            return f"{file} evolves, and `{self._settings.text}` never runs it: leave it out of the files that evolve."
        root = next((r for r in self._settings.pythonpath if r != "."), Path(file).parts[0] if "/" in file else ".")
        return (
            f"{file} evolves, and `{self._settings.text}` imports {instead} in its place, an installed copy that does not "
            "evolve. Install the project in place (`pip install -e .`), or put its folder first with "
            f"--set 'task.pythonpath=[\"{root}\"]'."
        )

    def _remedy(self, log: str) -> str:
        """What can be done about a module that was not found: a sentence after the reason, or empty."""
        missing = re.findall(r"^ModuleNotFoundError: No module named '([\w.]+)'", log, re.MULTILINE)
        return missing_module(missing[-1], self._folder) if missing else ""

    def _evaluate(self, job: Job, stages: Stages) -> Measured:
        s = self._settings
        report = stages.run("fit", f"{_INSIDE}:run", self._limits(s.seconds), *self._given(job), readable=self._may_read)
        values = metrics.read(report.log, tuple(s.metrics))
        # The time of a short run is mostly chance, and each chance difference would put another candidate on the front.
        whole_seconds = max(1.0, round(rough(report.seconds)))
        values |= {"train_time": whole_seconds, "memory": rough(report.peak_memory / 2**20)}
        return stages.measured(values, printed=told_lines(report.log))

    def _limits(self, seconds: float) -> CallLimits:
        size = self._project.archive.stat().st_size
        return CallLimits(seconds, self._settings.memory, result=RESULT, scratch=SCRATCH + size, log=LOG)

    @property
    def _may_read(self) -> tuple[Path, ...]:
        """What the script may read in place: no label of its is secret, so data sets in installed packages are open too."""
        return (*(place.real for place in self._readable), *map(Path, levels.opened_packages(None)))

    def _given(self, job: Job) -> tuple[dict[str, Path], dict[str, Any]]:
        """The inputs and options of both calls."""
        command = self._settings.command
        return {"project": self._project.archive}, {
            "target": command.target,
            "is_module": command.is_module,
            "arguments": list(command.arguments),
            "environment": dict(command.environment),
            "pythonpath": list(self._settings.pythonpath),
            "links": {place.link: str(place.real) for place in self._readable if place.link},
            "depth": max([1, *(place.levels_up for place in self._readable)]),
            "training_seed": job.training_seed,
        }
