"""Checks whether a `task.py` keeps its contract, for its author. Tests run the checks on the tasks that ship."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.sandbox import Sandbox, TaskError
from sandbox.tasks.common.job import Job, StageFailed, StageFailure
from sandbox.tasks.common.task import TaskTables
from sandbox.tasks.own.part_inside import reaches
from sandbox.tasks.own.splits import Part, Splits
from sandbox.tasks.own.task import MEASURED, OwnTask

if TYPE_CHECKING:
    import numpy as np

SHARED = 0.01
"""Largest share of rows that may be in two splits: real data contain some duplicates."""
MIN_VALUES = 4
"""Rows with fewer values than this are not compared: single numbers recur by chance."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str


def checks(
    task: Mapping[str, Any],
    budget: Mapping[str, Any],
    sources: Mapping[str, str],
    cache: Path,
    folder: Path,
    sandbox: Sandbox,
) -> Iterator[Check]:
    """Run the checks in order; stop after a failure that makes the next ones impossible. Raises SandboxUnavailable."""
    try:
        opened = OwnTask.open(TaskTables(task, budget, {}, tuple(sources), cache, folder=folder))
    except TaskError as error:
        yield Check("the file is complete and its data well-formed", False, str(error))
        return
    yield Check("the file is complete and its data well-formed", True, opened.facts()["Data"])
    yield _same_data(opened)
    yield _hidden(opened.splits)
    yield _not_called(opened)
    yield _closed(opened, sandbox)
    yield _apart(opened.splits)
    job = Job(sources, 0, seed_size=sum(map(len, sources.values())))
    first = opened.evaluate(job, sandbox)
    evaluated = "the seed trains, predicts each row by itself and is scored"
    if isinstance(first, StageFailure):
        yield Check(evaluated, False, f"stopped at {first.stage}: {first.reason}\n{first.log}".strip())
        return
    yield Check(evaluated, True, ", ".join(f"{name} {value:.6g}" for name, value in first.values.items()))
    again = opened.evaluate(job, sandbox)
    yield _repeatable(first.values, again.values if not isinstance(again, StageFailure) else {})
    yield _informative(opened, first.values)


def _same_data(task: OwnTask) -> Check:
    name = "data() returns the same values each time"
    again = Splits.read(task.file.call("data"), task.splits.stand_in, str(task.file.path))
    if again.digest == task.splits.digest:
        return Check(name, True, f"digest {again.digest[:12]}")
    return Check(name, False, "two calls returned different values: fix the seed of every shuffle")


def _apart(splits: Splits) -> Check:
    """Check that no row of one split is in another; only arrays of the same form with long enough rows are compared."""
    name = "no row is in two splits"
    rows = {split: _rows_of(parts) for split, parts in splits.parts.items()}
    pairs = [("validation", "test", rows["validation"], rows["test"])]
    for split, (form, found) in rows.items():
        like = [values for values in splits.train.values() if (values.dtype, values.shape[1:]) == form]
        pairs += [(split, "train", (form, found), (form, _bytes(values))) for values in like[:1]]
    alike = [pair for pair in pairs if pair[2][0] == pair[3][0] and math.prod(pair[2][0][1]) >= MIN_VALUES]
    for one, other, (_, a), (_, b) in alike:
        there = set(b)
        shared = sum(row in there for row in a) / len(a)
        if shared > SHARED:
            return Check(name, False, f"{shared:.0%} of the rows of {one} are in {other} too")
    compared = ", ".join(f"{one} with {other}" for one, other, *_ in alike)
    return Check(name, True, f"compared: {compared}" if compared else "nothing to compare: other forms, or too short rows")


def _rows_of(parts: tuple[Part, ...]) -> tuple[Any, list[bytes]]:
    """Return ((dtype, shape of a row), all rows) of the first input of each part."""
    first = [next(iter(part.inputs.values())) for part in parts]
    return (first[0].dtype, first[0].shape[1:]), [row for values in first for row in _bytes(values)]


def _bytes(values: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in values]


def _hidden(splits: Splits) -> Check:
    import numpy as np

    for parts in splits.parts.values():
        for part in parts:
            for key, values in part.inputs.items():
                if values.shape == part.targets.shape and np.array_equal(values, part.targets):
                    return Check("targets are no inputs", False, f"the inputs {key} are the targets themselves")
    return Check("targets are no inputs", True, "no array of the inputs equals the targets")


def _not_called(task: OwnTask) -> Check:
    """Check that the part of the file that enters the sandbox holds neither `data` nor `score`."""
    name = "data() and score() stay outside"
    found = [one for one in ("data", "score") if reaches(task.file.text, one)]
    if found:
        return Check(
            name, False, f"fit or predict uses {found[0]}(), so that a program can call it too: hand over what they need"
        )
    lines = len([line for line in task.file.inside.splitlines() if line.strip()])
    return Check(name, True, f"{lines} lines of the file go in: what fit and predict need")


def _closed(task: OwnTask, sandbox: Sandbox) -> Check:
    """Check, by calling it there, that what `data()` reads cannot be read in the sandbox."""
    name = "data() cannot be run inside"
    report = task.try_data(sandbox)
    if not report.ok:
        last = report.log.strip().splitlines()[-1:] or [report.cause]
        return Check(name, True, f"it fails there: {last[0][:200]}")
    read = report.result.decode("utf-8", "replace").split()
    if read:
        return Check(name, False, f"it runs there too, since every program can read {read[0]}: keep the data in your own folder")
    return Check(
        name, True, "it reads no file: its values follow from its text alone, which stays outside: keep it out of facts() too"
    )


def _repeatable(first: Mapping[str, float], again: Mapping[str, float]) -> Check:
    """Check that two trainings score the same. Quantities that are timed or depend on the machine may differ."""
    free = MEASURED.keys() - {"parameters"}
    differing = [name for name in first if name not in free and first[name] != again.get(name)]
    shown = ", ".join(f"{name} {first[name]:.6g} and {again.get(name, float('nan')):.6g}" for name in differing)
    same = "twice the same score"
    return Check("the same training seed gives the same score", not differing, shown or same)


def _informative(task: OwnTask, reached: Mapping[str, float]) -> Check:
    """Check that constant predictions score differently from the seed's."""
    import numpy as np

    rows = sum(part.rows for part in task.splits.parts["validation"])
    nothing = np.zeros((rows, *task.file.output_shape), "<f4")
    try:
        blind = task.scoring.worse(task.splits.targets(), nothing, nothing)
    except StageFailed as failed:
        return Check("predictions that know nothing score otherwise", True, f"they are refused: {failed.failure.reason}")
    shown = ", ".join(f"{name} {value:.6g} (the seed: {reached[name]:.6g})" for name, value in blind.items())
    return Check("predictions that know nothing score otherwise", any(blind[n] != reached[n] for n in blind), shown)
