"""Trains one program of a run again, exactly as it was recorded, and compares. Nothing is recorded of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from agent.core.errors import UserError
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.journal.events import RunStarted, Watch
from agent.journal.header import objectives_of, seed_fitness_of, units_of
from agent.journal.store import Journal
from agent.lineage import Lineage
from agent.run.components import Components, open_components, pinned_level
from agent.run.config import Config
from agent.run.config_sources import validated
from agent.run.evaluation import Evaluator, floors_of
from agent.run.folder import RunFolder, locked
from agent.run.recorded import Reading, RecordedProgram, recorded_program
from sandbox.pool.gpus import gpus, torch_has_cuda
from sandbox.tasks.common.job import StageFailure

Word = Literal["equal", "within noise", "timed", "differs", "unknown"]
"""`timed`: depends on the clock or the machine, and no noise is known to compare it by."""
Promise = Literal["bits", "noise"]

TIMED = frozenset({"latency", "memory", "train_time"})
"""Quantities that no two trainings need to have in common."""
_NUMERIC = ("version of python", "version of torch", "version of numpy")
"""Versions of what computes."""
_ROOMS = ("agent", "sandbox", "prompts")


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was when the program was trained."""

    what: str
    then: str
    now: str
    matters: bool
    """Can the measured values depend on it?"""


@dataclass(frozen=True)
class Again:
    """What a training measured now."""

    values: Mapping[str, float] | None
    stage: str
    reason: str
    curve: tuple[tuple[float, ...], ...]
    seconds: float


@dataclass(frozen=True)
class Compared:
    """One reading, then and now."""

    reading: Reading
    again: Again
    words: Mapping[str, Word]
    """By objective; empty if one of the two failed."""
    curve: Word
    """Of what the training reported of each epoch."""
    promise: Promise
    promise_reason: str
    differences: tuple[Difference, ...]

    @property
    def word(self) -> Word:
        """Of the whole: the worst of its parts."""
        then, now = self.reading, self.again
        if then.values is None or now.values is None:
            return "equal" if then.values is now.values and then.stage == now.stage else "differs"
        found = {*self.words.values(), *([self.curve] if self.promise == "bits" else [])} - {"timed"}
        order: tuple[Word, ...] = ("differs", "unknown", "within noise")
        return next((word for word in order if word in found), "equal")

    @property
    def reproduced(self) -> bool:
        return self.word in ("equal", "within noise")


@dataclass(frozen=True)
class Reproduction:
    """What came of it."""

    program: RecordedProgram
    digest: str
    """Of the program's files."""
    in_git: bool | None
    """Does its commit hold the same files? None if it has none, or none that is there."""
    readings: tuple[Compared, ...]
    noise: Noise | None
    objectives: tuple[Objective, ...]

    @property
    def reproduced(self) -> bool:
        return all(one.reproduced for one in self.readings)


def reproduce(folder: RunFolder, id: str, watch: Watch, *, every: bool = False) -> Reproduction:
    """Trains the program again with its recorded training seed. `every`: with all of its recorded training seeds.

    Raises UserError if the run has nothing that could be trained again, MachineError if the machine is at fault.
    """
    folder.check_exists()
    with ExitStack() as stack:
        stack.enter_context(locked(folder.lock))  # a run under way would be slower, and its timings would be wrong
        journal = stack.enter_context(closing(Journal(folder.journal, read_only=True)))
        program = recorded_program(journal, id)
        readings = program.readings if every else program.readings[:1]
        noise = units.noise if (units := units_of(journal)) else None
        groups = groupby(readings, key=lambda one: (one.start, one.device == "cpu"))
        compared = [one for _, group in groups for one in _compare(journal, program, list(group), noise, watch)]
        return Reproduction(
            program, _digest(program.files), _in_git(folder, program), tuple(compared), noise, objectives_of(journal)
        )


def _in_git(folder: RunFolder, program: RecordedProgram) -> bool | None:
    seed = Path(program.readings[0].start["config"]["seed"]["folder"])
    with suppress(UserError):  # no git here, or one that does not trust the repository
        if program.commit:
            return Lineage.open(seed, folder.root, folder.name).holds(program.commit, program.files)
    return None


def _compare(
    journal: Journal, program: RecordedProgram, readings: Sequence[Reading], noise: Noise | None, watch: Watch
) -> Iterator[Compared]:
    """`readings`: made by one process on one kind of device."""
    config = _as_recorded(readings[0])
    with open_components(config, watch, pinned_level(journal), with_models=False) as components:
        evaluator = components.evaluator
        if seed := seed_fitness_of(journal):
            evaluator.require(floors_of(components.task, seed, config.objectives, config.constraint_list()))
            evaluator.expect(seed)
        genome = components.genome.with_same_rules(program.files)
        for reading in readings:
            again = _train(evaluator, program.id, genome, reading, tuple(config.objectives))
            found = tuple(differences(reading, components.start_event(), components))
            promise, reason = promised(config, reading.device, evaluator.devices[0], found)
            failed = reading.values is None or again.values is None
            words = {} if failed else compare(reading.values or {}, again.values or {}, promise, noise)
            known = bool(reading.curve and again.curve)
            curve: Word = "timed" if not known else "equal" if reading.curve == again.curve else "differs"
            yield Compared(reading, again, words, curve, promise, reason, found)


def _as_recorded(reading: Reading) -> Config:
    """The settings of the process that made the reading, with one slot on a device of the same kind if there is one."""
    config = validated(reading.start["config"], "the run's journal")
    on_gpu = reading.device != "cpu" and bool(gpus()) and torch_has_cuda()
    sandbox = config.sandbox.model_copy(update={"slots": "1" if on_gpu else "cpu:1"})
    return config.model_copy(update={"sandbox": sandbox})


def _train(evaluator: Evaluator, id: str, genome: Genome, reading: Reading, objectives: Sequence[str]) -> Again:
    """One training. The search discards what breaks a constraint; what a confirmation or the noise measured is kept."""
    admit: Callable[[], None] = lambda: None  # noqa: E731
    timed = evaluator.retrain(id, genome, reading.training_seed, test_too=False, admit=admit)
    result = timed.result
    if isinstance(result, StageFailure):
        return Again(None, result.stage, result.reason, (), timed.seconds)
    broken = Fitness(result.values).broken(evaluator.constraints) if reading.origin == "search" else ()
    if broken:
        values = ", ".join(f"{one.name} is {result.values[one.name]:g}" for one in broken)
        return Again(None, "score", f"It trained, but breaks a constraint: {values}.", result.curve, timed.seconds)
    return Again({name: result.values[name] for name in objectives}, "", "", result.curve, timed.seconds)


def differences(reading: Reading, now: RunStarted, components: Components) -> Iterator[Difference]:
    """What of code, versions, data, settings and machine is not as it was. What is only known of one of the two is not named."""
    then = reading.start
    device = components.evaluator.devices[0]
    before, on_gpu = dict(then.get("machine") or {}), device != "cpu"
    if _kind(device) != _kind(reading.device):
        yield Difference("device", reading.device, device, True)
    for what, old, new, matters in (
        ("processor", before.get("processor"), now.machine.get("processor"), True),
        ("GPU", before.get(reading.device), now.machine.get(device), on_gpu),
        ("driver", before.get("driver"), now.machine.get("driver"), on_gpu),
    ):
        if old and new and old != new:
            yield Difference(what, old, new, matters)
    if then.get("isolation") != now.isolation:
        yield Difference("isolation", str(then.get("isolation")), now.isolation, False)
    yield from _code_differences(dict(then.get("basis") or {}), now.provenance, frozenset(components.genome.files))


def _code_differences(then: Mapping[str, str], now: Mapping[str, str], files: frozenset[str]) -> Iterator[Difference]:
    """`files`: of the seed, which are not trained here: the program's own source is in the journal."""
    both = [name for name in sorted(then.keys() | now.keys()) if then and then.get(name) != now.get(name)]
    rooms = {room: [name for name in both if name.startswith(f"{room}/")] for room in _ROOMS}
    for room, changed in rooms.items():
        if changed:
            first = f"{changed[0]}{f' and {len(changed) - 1} more' if len(changed) > 1 else ''}"
            yield Difference(f"this program's {room}/", "as it was", f"{first} changed", room == "sandbox")
    for name in both:
        if name.split("/")[0] in _ROOMS or name.removeprefix("seed/") in files:
            continue
        if name.startswith("seed/"):  # the text of a task file is too long to be shown
            yield Difference(name, "as it was", "changed", True)
        elif name in then and name in now:
            yield Difference(name, then[name], now[name], name in _NUMERIC or not name.startswith("version of "))


def promised(config: Config, then: str, now: str, found: Sequence[Difference]) -> tuple[Promise, str]:
    """(what two trainings have to have in common, why not every bit). `then`, `now`: the devices."""
    if config.task.get("name") == "script":
        return "noise", "a script makes its own random choices"
    if config.budget.get("seconds"):
        return "noise", "a training of so many seconds is as long as the machine is fast"
    if "cpu" not in (then, now) or then != now:
        return "noise", "on a GPU the order of additions varies" if then == now else "it was trained on another kind of device"
    if matter := [one.what for one in found if one.matters]:
        return "noise", f"not the same: {', '.join(matter)}"
    return "bits", ""


def compare(then: Mapping[str, float], now: Mapping[str, float], promise: Promise, noise: Noise | None) -> dict[str, Word]:
    """One word for each objective of two single trainings. `promise`: what they have to have in common."""
    return {name: _word(name, value, now[name], promise, noise) for name, value in then.items() if name in now}


def _word(name: str, then: float, now: float, promise: Promise, noise: Noise | None) -> Word:
    if then == now:
        return "equal"
    sigma = noise.sigma.get(name) if noise else None
    if name in TIMED and not sigma:
        return "timed"
    if sigma is None and promise == "noise":
        return "unknown"
    if noise is None or not sigma or (promise == "bits" and name not in TIMED):
        return "differs"
    return "within noise" if abs(now - then) <= noise.band(name) else "differs"


def _kind(device: str) -> str:
    return "cpu" if device == "cpu" else "gpu"


def _digest(files: Mapping[str, str]) -> str:
    found = hashlib.sha256()
    for path, text in sorted(files.items()):
        found.update(f"{path}\0{text}\0".encode("utf-8", "replace"))
    return found.hexdigest()[:12]
