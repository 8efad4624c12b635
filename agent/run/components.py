"""Open and check the components of a run (task, sandbox, models, editor) before anything is spent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from agent.budget import check_prices
from agent.core.errors import MachineError, UserError
from agent.core.paths import prompts_folder
from agent.genome import Editor, Genome, read_genome
from agent.journal.events import Advised, ProgressReported, RunStarted, Watch
from agent.journal.store import Journal
from agent.llm import LanguageModel, LlmSettings, open_model, price
from agent.operators.templates import Prompts
from agent.run.cache import with_cache
from agent.run.config import Config
from agent.run.evaluation import Evaluator, EvaluatorSettings
from agent.run.evolving import measurement_frozen, tell_what_evolves
from agent.run.machine import machine
from agent.run.provenance import provenance
from sandbox import LEVELS, Level, SandboxUnavailable
from sandbox.launch.detect import Isolation, detect, gpu_trouble
from sandbox.launch.opening import open_fork_server, open_sandbox
from sandbox.pool.gpus import SlotLayout, cores, gpus, torch_has_cuda
from sandbox.pool.lanes import Lanes
from sandbox.tasks import Task, TaskError, open_task


@dataclass(frozen=True)
class Components:
    """The parts that one process of a run uses and that do not depend on the state of the run."""

    config: Config
    """The configuration, completed by the task."""
    genome: Genome
    """The seed's genome."""
    task: Task
    evaluator: Evaluator
    prompts: Prompts
    models: dict[str, LanguageModel]
    editor: Editor
    isolation: Isolation
    open_evaluator: Callable[[], Evaluator]
    """Another one, where the first was closed to end what was under way. It is closed with the rest."""

    def start_event(self) -> RunStarted:
        """The event that records the start of a process."""
        seed = self.config.seed
        digests = {**provenance(Path(seed.folder), seed.files, prompts_folder()), **self.task.provenance}
        settings, isolation = self.config.model_dump(mode="json"), self.isolation
        devices = self.evaluator.devices
        return RunStarted(settings, isolation.level, isolation.in_force, devices, digests, machine=machine(devices))


@contextmanager
def open_components(config: Config, watch: Watch, at_least: Level = "none", *, with_models: bool = True) -> Iterator[Components]:
    """Raises UserError for every mistake of the user's that can be seen without spending anything.

    `at_least`: the level of isolation that this run started with. `with_models`: false where no model will be asked.
    """
    genome = read_genome(Path(config.seed.folder), config.seed.files, config.seed.frozen)
    task = with_cache(partial(_open_task, config), lambda text: watch(Advised(text)))
    config = completed(config, task)
    config, genome, measuring = measurement_frozen(config, genome)
    genome = genome if task.entry_points is None else replace(genome, entry_points=task.entry_points)
    prompts = Prompts.load(prompts_folder())
    if config.run.null and config.llm.models:
        raise UserError("A null run asks no model: leave --llm and llm.models out.")
    if config.run.null and not genome.blocks:
        raise UserError(f"{config.seed.folder} has constants alone: a null run needs a class or a function, for its edits.")
    with_models = with_models and not config.run.null
    if with_models and not config.llm.models:
        raise UserError("No model is named: give --llm MODEL, or --llm offline to run without a key or a network.")
    if with_models or config.run.null:
        tell_what_evolves(genome, measuring, watch)
    devices = _devices(config)
    isolation = _isolation(config, at_least)
    if trouble := gpu_trouble(isolation, devices):
        raise UserError(trouble)
    if with_models:
        for name in sorted(config.llm.endpoints.keys() - set(config.llm.models)):
            watch(Advised(f"llm.endpoints has an address for {name!r}, which is not among the models of this run."))
        check_prices(config.limits, config.llm.models, lambda model: price(model, config.llm.prices))
    seed_size = sum(map(len, genome.files.values()))
    with ExitStack() as stack:
        opened = open_models(config) if with_models else ()
        models = {name: stack.enter_context(closing(model)) for name, model in opened}

        def open_evaluator() -> Evaluator:
            return _open_evaluator(config, task, isolation, devices, seed_size, watch, stack)

        evaluator = open_evaluator()
        editor = stack.enter_context(closing(Editor()))
        threading.Thread(target=_warm_up, args=(editor, genome), daemon=True).start()
        yield Components(config, genome, task, evaluator, prompts, models, editor, isolation, open_evaluator)


def completed(config: Config, task: Task) -> Config:
    """The configuration with the task's objectives if it names none, and with the settings that the task fixes for a resume.

    Raises UserError for an objective that the task does not measure, or that has the other direction there.
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


def pinned_level(journal: Journal) -> Level:
    """The level of isolation that the run started with. Later processes of the run need at least this level."""
    first = next(iter(journal.events("started")), None)
    return cast(Level, first[3]["isolation"]) if first else "none"


def _open_task(config: Config, cache: Path) -> Task:
    bounds = {c.name: c.bound for c in config.constraint_list() if c.relation in ("<=", "<")}
    measured = frozenset(config.objectives) | frozenset(config.constraints)
    folder = Path(config.seed.folder)
    try:
        return open_task(config.task, config.budget, bounds, config.seed.files, cache, measured, folder)
    except TaskError as error:
        raise UserError(str(error)) from error


def open_models(config: Config) -> Iterator[tuple[str, LanguageModel]]:
    llm = config.llm
    settings = LlmSettings(deadline_seconds=llm.deadline_seconds, prices=llm.prices)
    for name in llm.models:
        own = llm.endpoint(name)
        yield name, open_model(name, replace(settings, api_base=own.api_base, key_variable=own.key) if own else settings)


def _open_evaluator(
    config: Config, task: Task, isolation: Isolation, devices: tuple[str, ...], seed_size: int, watch: Watch, stack: ExitStack
) -> Evaluator:
    """Open the evaluator; `stack` closes it. `seed_size`: as in `EvaluatorSettings`."""
    if (fork_server := open_fork_server()) is not None:
        stack.callback(fork_server.close)
    lanes = Lanes(
        isolation.level,
        lambda: open_sandbox(isolation.level, isolation.layers, fork_server=fork_server),
        devices,
        beside=max(2, min(len(devices), cores())),
    )
    settings = EvaluatorSettings(
        config.objective_list(), config.constraint_list(), config.sandbox.threads, config.run.training_seed, seed_size
    )
    evaluator = Evaluator(task, lanes, settings, lambda id, progress: watch(ProgressReported(id, progress)))
    stack.callback(evaluator.close)
    return evaluator


def _warm_up(editor: Editor, genome: Genome) -> None:
    """Make an empty edit while the seed trains: the editor's first edit takes a second."""
    with suppress(MachineError):  # the first real edit will raise it again
        editor.apply(genome, (), "")


def _devices(config: Config) -> tuple[str, ...]:
    """The device of each slot."""
    layout = SlotLayout.read(config.sandbox.slots)
    try:
        return layout.devices(() if layout.where == "cpu" else gpus(), usable=torch_has_cuda())
    except TaskError as error:
        raise UserError(str(error)) from error


def _isolation(config: Config, at_least: Level) -> Isolation:
    """Detect the isolation. Raises UserError if it is below `at_least`, or below `contained` and the user did not accept that."""
    try:
        isolation = detect()
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
    if LEVELS.index(isolation.level) > LEVELS.index(at_least):
        raise UserError(f"This run started at isolation level {at_least!r}, and this machine offers only {isolation.level!r}.")
    if isolation.level in ("full", "contained") or config.sandbox.unsafe_no_sandbox:
        return isolation
    raise UserError(
        f"Generated code would run at isolation level {isolation.level!r}, free to read your files and keys: see "
        "`evolve doctor` for what would help, or accept the risk with --unsafe-no-sandbox."
    )
