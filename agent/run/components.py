"""What a run works with (task, sandbox, models, editor): opened and checked before anything is spent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from agent.budget import check_prices
from agent.core.errors import MachineError, UserError
from agent.core.paths import prompts_folder
from agent.genome import Editor, Genome, read_genome
from agent.journal.events import ProgressReported, RunStarted, Watch
from agent.journal.store import Journal
from agent.llm import LanguageModel, LlmSettings, open_model, price
from agent.operators.templates import Prompts
from agent.run import config as configuration
from agent.run.config import Config
from agent.run.evaluation import Evaluator
from agent.run.provenance import basis
from sandbox import LEVELS, Level, SandboxUnavailable
from sandbox.devices import Layout, cores, gpus, torch_has_cuda
from sandbox.isolation.detect import Isolation, detect, gpu_trouble
from sandbox.lanes import Lanes
from sandbox.opening import open_sandbox, open_stem
from sandbox.tasks import Task, TaskError, open_task


@dataclass(frozen=True)
class Components:
    """What a run works with: opened and checked before anything is spent."""

    config: Config
    genome: Genome
    task: Task
    evaluator: Evaluator
    prompts: Prompts
    models: dict[str, LanguageModel]
    editor: Editor
    isolation: Isolation

    def begin(self) -> RunStarted:
        files = basis(Path(self.config.seed.folder), self.config.seed.files, prompts_folder())
        rests_on = {**files, **self.task.basis}
        settings, isolation = self.config.model_dump(mode="json"), self.isolation
        return RunStarted(settings, isolation.level, isolation.in_force, self.evaluator.devices, rests_on)


@contextmanager
def open_components(config: Config, watch: Watch, at_least: Level = "none") -> Iterator[Components]:
    """Raises UserError for every mistake of the user's that can be seen without spending anything.

    `at_least`: the level of isolation that this run began with.
    """
    genome = read_genome(Path(config.seed.folder), config.seed.files, config.seed.frozen)
    constraints = config.constraint_list()
    bounds = {c.name: c.bound for c in constraints if c.relation in ("<=", "<")}
    try:
        task = open_task(
            config.task,
            config.budget,
            bounds,
            config.seed.files,
            configuration.cache_folder(),
            _measured(config),
            Path(config.seed.folder),
        )
    except TaskError as error:
        raise UserError(str(error)) from error
    config = settled(config, task)
    genome = genome if task.calls is None else replace(genome, entries=task.calls)
    prompts = Prompts.load(prompts_folder())
    if not config.llm.models:
        raise UserError("No model is named: give --llm MODEL, or --llm offline to run without a key or a network.")
    devices = _devices(config)
    isolation = _isolation(config, at_least)
    if trouble := gpu_trouble(isolation, devices):
        raise UserError(trouble)
    check_prices(config.limits, config.llm.models, lambda model: price(model, config.llm.prices))
    with ExitStack() as stack:
        settings = LlmSettings(
            api_base=config.llm.api_base, deadline_seconds=config.llm.deadline_seconds, prices=config.llm.prices
        )
        models = {name: stack.enter_context(closing(open_model(name, settings))) for name in config.llm.models}
        if (stem := open_stem()) is not None:
            stack.callback(stem.close)
        evaluator = Evaluator(
            task,
            Lanes(
                isolation.level,
                lambda: open_sandbox(isolation.level, isolation.layers, stem=stem),
                devices,
                beside=max(2, min(len(devices), cores())),
            ),
            config.objective_list(),
            constraints,
            threads=config.sandbox.threads,
            training_seed=config.run.training_seed,
            hear=lambda id, progress: watch(ProgressReported(id, progress)),
        )
        stack.callback(evaluator.close)
        editor = stack.enter_context(closing(Editor()))
        threading.Thread(target=_rehearse, args=(editor, genome), daemon=True).start()
        yield Components(config, genome, task, evaluator, prompts, models, editor, isolation)


def pinned(journal: Journal) -> Level:
    """The level that the run began with, which no later process of it may fall below."""
    first = next(iter(journal.events("started")), None)
    return cast(Level, first[3]["isolation"]) if first else "none"


def _rehearse(editor: Editor, genome: Genome) -> None:
    """An edit that comes to nothing: the first one takes the editor a second, in which the seed can train."""
    with suppress(MachineError):  # who needs it will hear of it
        editor.apply(genome, (), "")


def _devices(config: Config) -> tuple[str, ...]:
    """That of each slot."""
    layout = Layout.read(config.sandbox.slots)
    try:
        return layout.devices(() if layout.where == "cpu" else gpus(), usable=torch_has_cuda())
    except TaskError as error:
        raise UserError(str(error)) from error


def _measured(config: Config) -> frozenset[str]:
    """Names of what has to be measured."""
    return frozenset(config.objectives) | frozenset(config.constraints)


def _isolation(config: Config, at_least: Level) -> Isolation:
    """Raises UserError below `contained`, unless the user said that this is meant, and below `at_least` in any case."""
    try:
        isolation = detect()
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
    if LEVELS.index(isolation.level) > LEVELS.index(at_least):
        raise UserError(f"This run began at isolation level {at_least!r}, and here only {isolation.level!r} is to be had.")
    if isolation.level in ("full", "contained") or config.sandbox.unsafe_no_sandbox:
        return isolation
    raise UserError(
        f"Generated code would run at isolation level {isolation.level!r}, free to read your files and keys: see "
        "`evolve doctor` for what would help, or accept the risk with --unsafe-no-sandbox."
    )


def settled(config: Config, task: Task) -> Config:
    """The configuration with the task's own objectives, if it names none, and with what the task pins.

    Raises UserError for an objective that the task does not measure, or measures for the other direction.
    """
    changes: dict[str, object] = {}
    if "objectives" not in config.model_fields_set and task.directions:
        changes["objectives"] = dict(task.directions)
    if task.pins:
        changes["task"] = {**config.task, **task.pins}
    config = config.model_copy(update=changes) if changes else config
    for table in ("objectives", "constraints"):
        for name in getattr(config, table):
            if name not in task.objectives:
                raise UserError(f"{table}.{name}: this task measures {', '.join(task.objectives)}.")
    for name, direction in config.objectives.items():
        if task.directions.get(name, direction) != direction:
            raise UserError(f'objectives.{name} = "{direction}": the task itself says "{task.directions[name]}".')
    if len(config.objectives) < 2:
        raise UserError(f"objectives: a run needs at least two; this task measures {', '.join(task.objectives)}.")
    return config
