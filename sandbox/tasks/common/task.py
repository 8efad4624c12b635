"""The interface of a task, and the tables that it is opened from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sandbox.data import Secret
from sandbox.data.secret import KEY as SECRET
from sandbox.isolation import levels
from sandbox.isolation.packages import imported_by, read_sources
from sandbox.sandbox import Sandbox
from sandbox.tasks.common.job import Job, Measured, Progress, StageFailure


@dataclass(frozen=True)
class TaskTables:
    """Everything that opening a task needs."""

    task: Mapping[str, Any]
    """The table `[task]`."""
    budget: Mapping[str, Any]
    """The table `[budget]`, of one evaluation."""
    bounds: Mapping[str, float]
    """Upper bounds by objective, checked before training where possible."""
    files: tuple[str, ...]
    """The seed's files, relative to `folder`."""
    cache: Path
    """The folder for decoded data."""
    wanted: Collection[str] = ()
    """Names of all quantities to measure. A task may also measure others that cost nothing."""
    folder: Path = Path()
    """The seed's folder."""

    def packages(self, more: Mapping[str, str] | None = None) -> tuple[Path, ...]:
        """The installed packages that programs may import because the seed's files, or the texts `more` by path, do so.

        No candidate can add one: what it reads are the files of the seed.
        """
        sources = {**read_sources(self.folder, self.files), **(more or {})}
        return tuple(map(Path, levels.opened_packages(imported_by(sources))))

    def secret(self) -> Secret:
        """What every order is drawn from that a candidate can see. Raises TaskError, or OSError of the cache folder."""
        return Secret.of(self.task.get(SECRET), self.cache)


class Task(Protocol):
    title: str
    """One or two sentences: what the model is for."""
    objectives: tuple[str, ...]
    """Names of the quantities it measures."""
    directions: Mapping[str, str] = {}
    """`max` or `min` by objective, if the task itself defines them. They are a run's objectives if the run names none."""
    entry_points: frozenset[str] | None = None
    """Names that the task may call on the seed's program; None: `build_model` and the others of image classification."""
    pins: Mapping[str, Any] = {}
    """Added to the table `[task]` of a run, so that a later process of the run opens the same task."""
    has_test_split: bool = False
    """Is there a sealed test split, which `Job.test_too` opens?"""
    test_note: str = ""
    """Where the test split comes from and how large it is, or why there is none: a clause without a full stop."""
    provenance: Mapping[str, str] = {}
    """What the measurements depend on besides the code: name -> text or digest. It is recorded, and compared on resume."""

    exact: Collection[str] = frozenset({"parameters", "flops"})
    """Quantities that depend on the program alone: if another training seed changes one, that is the program's fault."""
    floors: Mapping[str, float] = {}
    """By objective, the value that a program may reach without having learned anything, chance included."""

    remarks: Sequence[str] = ()
    """What the user should know before a run begins, such as the sizes of the splits; a line each."""
    doubts: Sequence[str] = ()
    """What the user may not have meant, such as a split of twelve images; a sentence each."""

    def facts(self) -> Mapping[str, str]:
        """What a researcher needs to know to choose a change, as label -> sentence; shown in every prompt."""
        ...

    def files_beside(self) -> Mapping[str, bytes]:
        """Files of the seed's folder that a program needs to run, besides those that evolve, as this run uses them.

        Content by path relative to that folder.
        """
        return {}

    def evaluate(self, job: Job, sandbox: Sandbox, progress: Callable[[Progress], None] | None = None) -> Measured | StageFailure:
        """Evaluate one candidate. `progress` may be called meanwhile, in this thread.

        Raises SandboxUnavailable when the machine is at fault.
        """
        ...

    def check(self, job: Job, sandbox: Sandbox) -> StageFailure | None:
        """Try out what only the seed must satisfy, before anything is spent; return what is wrong with it, if anything.

        Raises SandboxUnavailable when the machine is at fault.
        """
        return None
