"""What a run works with: task, sandbox, models and editor, opened and checked before anything is spent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from agent import config as configuration
from agent.basis import basis
from agent.budget import check
from agent.config import Config
from agent.errors import MachineError, UserError
from agent.evaluation import Bench
from agent.events import Heard, RunStarted, Watch
from agent.genome import Editor, Genome, read_genome
from agent.journal import Journal
from agent.llm import LanguageModel, LlmSettings, open_model, price
from agent.measures import settled
from agent.prompting import Prompts
from agent.resources import prompts_folder
from sandbox import LEVELS, Level, SandboxUnavailable
from sandbox.launch.detect import Isolation, detect, gpu_trouble
from sandbox.launch.opening import open_fork_server, open_sandbox
from sandbox.pool.gpus import SlotLayout, cores, gpus, torch_has_cuda
from sandbox.pool.lanes import Lanes
from sandbox.tasks import Task, TaskError, open_task


@dataclass(frozen=True)
class Equipment:
    """What a run works with: opened and checked before anything is spent."""

    config: Config
    genome: Genome
    task: Task
    bench: Bench
    prompts: Prompts
    models: dict[str, LanguageModel]
    editor: Editor
    isolation: Isolation

    def begin(self) -> RunStarted:
        files = basis(Path(self.config.seed.folder), self.config.seed.files, prompts_folder())
        rests_on = {**files, **self.task.provenance}
        settings, isolation = self.config.model_dump(mode="json"), self.isolation
        return RunStarted(settings, isolation.level, isolation.in_force, self.bench.devices, rests_on)


@contextmanager
def equip(config: Config, watch: Watch, at_least: Level = "none") -> Iterator[Equipment]:
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
    genome = genome if task.entry_points is None else replace(genome, entries=task.entry_points)
    prompts = Prompts.load(prompts_folder())
    if not config.llm.models:
        raise UserError("No model is named: give --llm MODEL, or --llm offline to run without a key or a network.")
    devices = _devices(config)
    isolation = _isolation(config, at_least)
    if trouble := gpu_trouble(isolation, devices):
        raise UserError(trouble)
    check(config.limits, config.llm.models, lambda model: price(model, config.llm.prices))
    with ExitStack() as stack:
        settings = LlmSettings(
            api_base=config.llm.api_base, deadline_seconds=config.llm.deadline_seconds, prices=config.llm.prices
        )
        models = {name: stack.enter_context(closing(open_model(name, settings))) for name in config.llm.models}
        if (fork_server := open_fork_server()) is not None:
            stack.callback(fork_server.close)
        bench = Bench(
            task,
            Lanes(
                isolation.level,
                lambda: open_sandbox(isolation.level, isolation.layers, fork_server=fork_server),
                devices,
                beside=max(2, min(len(devices), cores())),
            ),
            config.objective_list(),
            constraints,
            threads=config.sandbox.threads,
            training_seed=config.run.training_seed,
            hear=lambda id, progress: watch(Heard(id, progress)),
        )
        stack.callback(bench.close)
        editor = stack.enter_context(closing(Editor()))
        threading.Thread(target=_rehearse, args=(editor, genome), daemon=True).start()
        yield Equipment(config, genome, task, bench, prompts, models, editor, isolation)


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
    layout = SlotLayout.read(config.sandbox.slots)
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
