"""The composition root: configuration -> objects -> evolution -> journal and branches. It alone names concrete classes."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import cast

from agent import config as configuration
from agent.archive import Archive
from agent.breeding import Breeding
from agent.budget import Budget, Guess, check
from agent.competition import Competition
from agent.config import Config, RunFolder
from agent.draws import Draws
from agent.errors import MachineError, UserError
from agent.evaluation import Bench, Evaluation
from agent.events import Memo, RunEnded, RunStarted, Settled, StopRequested, Watch
from agent.evolve import Evolution
from agent.fitness import Noise
from agent.gate import Gate, Halted
from agent.genome import Editor, Genome, read_genome
from agent.individual import SEED_ID, Birth, Failure, Individual
from agent.journal import Journal
from agent.learning import Learning
from agent.lineage import Lineage
from agent.llm import LanguageModel, LlmSettings, open_model, price
from agent.lock import locked
from agent.noise import measure, unknown
from agent.operators import Brief, Sampling
from agent.plateau import Plateau
from agent.prompting import Prompts
from agent.recorder import Recorder
from agent.records import read_seed
from agent.reflection import Thoughts
from agent.resources import prompts_folder
from agent.signals import asked_to_stop
from agent.steering import Steering
from sandbox import LEVELS, Level, SandboxUnavailable
from sandbox.isolation.detect import Isolation, detect
from sandbox.tasks import Task, TaskError, open_task
from sandbox.warm import WarmSandbox


def free_folder(config: Config, name: str) -> RunFolder:
    """The first of `runs/NAME-1`, `runs/NAME-2`, ... of which neither the folder nor the branches exist."""
    for number in count(1):
        folder = RunFolder(Path("runs") / f"{name}-{number}")
        if not folder.root.exists() and not Lineage.open(Path(config.seed.folder), folder.root, folder.name).earlier():
            return folder
    raise AssertionError("numbers do not end")


def start(config: Config, folder: RunFolder, watch: Watch) -> None:
    """A new run. Raises UserError before anything is spent or written, MachineError if the run cannot go on."""
    if folder.root.exists():
        raise UserError(f"The run folder {folder.root} exists already: choose another --out, or `evolve resume` it.")
    with _equip(config) as equipment:
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        lineage.check()
        seed = equipment.bench.measure(Birth(SEED_ID, 0), equipment.genome)
        if isinstance(seed, Failure):
            raise UserError(
                f"The seed {config.seed.folder} does not train (stage {seed.stage}): {seed.reason} Mend it first."
            )
        folder.root.mkdir(parents=True)
        _write(folder.config, config.to_toml())
        with locked(folder.lock), closing(Journal(folder.journal)) as journal:
            _evolve(equipment, folder, journal, lineage, seed, Memo(), watch)


def resume(folder: RunFolder, watch: Watch) -> None:
    """Goes on with a run that stopped or broke: what the journal holds is not done again."""
    if not folder.journal.is_file():
        raise UserError(f"{folder.root} holds no run: there is no {folder.journal.name} in it.")
    config = configuration.read(folder.config)
    with locked(folder.lock), closing(Journal(folder.journal)) as journal, _equip(config, _pinned(journal)) as equipment:
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        frozen = frozenset(config.seed.frozen)
        seed: Individual | Failure | None = None
        for _, _, key, data in journal.events("settled"):
            if key == SEED_ID:
                seed = read_seed(data, frozen)
        seed = seed or equipment.bench.measure(Birth(SEED_ID, 0), equipment.genome)
        if isinstance(seed, Failure):
            raise MachineError(f"The seed does not train any more: {seed.reason}")
        _evolve(equipment, folder, journal, lineage, seed, journal.memo(frozen), watch)


@dataclass(frozen=True)
class _Equipment:
    """What a run works with: opened and checked before anything is spent."""

    config: Config
    genome: Genome
    task: Task
    bench: Bench
    prompts: Prompts
    models: dict[str, LanguageModel]
    editor: Editor
    isolation: Isolation


@contextmanager
def _equip(config: Config, pinned: Level = "none") -> Iterator[_Equipment]:
    """Raises UserError for every mistake of the user's that can be seen without spending anything.

    `pinned`: the level of isolation that this run began with.
    """
    genome = read_genome(Path(config.seed.folder), config.seed.files, config.seed.frozen)
    constraints = config.constraint_list()
    bounds = {c.name: c.bound for c in constraints if c.relation in ("<=", "<")}
    try:
        task = open_task(config.task, config.budget, bounds, config.seed.files, configuration.cache_folder())
    except TaskError as error:
        raise UserError(str(error)) from error
    for name in config.objectives:
        if name not in task.objectives:
            raise UserError(f"objectives.{name}: this task measures {', '.join(task.objectives)}.")
    prompts = Prompts.load(prompts_folder())
    if not config.llm.models:
        raise UserError("No model is named: give --llm MODEL, or --llm offline to run without a key or a network.")
    isolation = _isolation(config, pinned)
    check(config.limits, config.llm.models, lambda model: price(model, config.llm.prices))
    with ExitStack() as stack:
        settings = LlmSettings(
            api_base=config.llm.api_base, deadline_seconds=config.llm.deadline_seconds, prices=config.llm.prices
        )
        models = {name: stack.enter_context(closing(open_model(name, settings))) for name in config.llm.models}
        bench = Bench(
            task,
            lambda: WarmSandbox(isolation.level, isolation.layers),
            config.objective_list(),
            constraints,
            slots=config.sandbox.slots,
            threads=config.sandbox.threads,
            training_seed=config.run.training_seed,
        )
        stack.callback(bench.close)
        editor = stack.enter_context(closing(Editor()))
        yield _Equipment(config, genome, task, bench, prompts, models, editor, isolation)


def _pinned(journal: Journal) -> Level:
    """The level that the run began with, which no later process of it may fall below."""
    first = next(iter(journal.events("started")), None)
    return cast(Level, first[3]["isolation"]) if first else "none"


def _isolation(config: Config, pinned: Level) -> Isolation:
    """Raises UserError below `contained`, unless the user said that this is meant, and below the pinned level in any case."""
    try:
        isolation = detect()
    except SandboxUnavailable as error:
        raise MachineError(f"The sandbox cannot run: {error}") from error
    if LEVELS.index(isolation.level) > LEVELS.index(pinned):
        raise UserError(f"This run began at isolation level {pinned!r}, and here only {isolation.level!r} is to be had.")
    if isolation.level in ("full", "contained") or config.sandbox.unsafe_no_sandbox:
        return isolation
    raise UserError(
        f"Generated code would run at isolation level {isolation.level!r}, free to read your files and keys: see "
        "`evolve doctor` for what would help, or accept the risk with --unsafe-no-sandbox."
    )


def _evolve(
    e: _Equipment, folder: RunFolder, journal: Journal, lineage: Lineage, seed: Individual, memo: Memo, watch: Watch
) -> None:
    """Runs the algorithm to its end and records how it ended."""
    config = e.config
    budget = Budget(config.limits, slots=config.sandbox.slots, concurrency=config.llm.concurrency, guess=_guess(seed))
    budget.recall(journal.events())
    record = Recorder(journal, lineage, watch, budget, config.objective_list(), seed, memo)
    record(RunStarted(config.model_dump(mode="json"), e.isolation.level, e.isolation.in_force))
    for outcome in (seed, *memo.outcomes.values()):
        record(Settled(outcome))  # journaled already in a resumed run; a branch that the stop prevented is made up for
    repairs, concurrency = config.llm.repairs, config.llm.concurrency
    gate = Gate(budget)
    breeding = Breeding(
        e.prompts, e.models, e.editor, record,
        memo=memo, gate=gate, repairs=repairs, redraws=config.llm.redraws, concurrency=concurrency,
    )  # fmt: skip
    evaluation = Evaluation(e.bench, record, memo, gate, breeding)

    def stop(reason: str) -> None:
        gate.shut(reason)
        for model in e.models.values():
            if model.patient:
                model.close()
        watch(StopRequested(reason))

    try:
        with asked_to_stop(stop):
            record.flush()  # before anything is spent: can git write here?
            noise = measure(
                seed,
                e.bench,
                config.objective_list(),
                config.noise.trainings,
                config.run.training_seed,
                memo.repeats,
                record,
                gate,
            )
            evolution = _evolution(e, seed, noise, breeding, evaluation, record, folder, memo, gate)
            if config.search.schedule == "steady":
                evolution.steady(config.sandbox.slots, config.llm.concurrency)
            else:
                evolution.generational()
            record.flush()
    except Halted:
        pass  # before the search began
    except KeyboardInterrupt:
        record(RunEnded("stopped", gate.stopped or "stopped by the user"))
        raise
    except MachineError as error:
        record(RunEnded("failed", str(error)))
        raise
    finally:
        breeding.close()
        evaluation.close()
        record.close()
    if gate.stopped:
        record(RunEnded("stopped", gate.stopped))
        raise KeyboardInterrupt
    if len(evolution.archive.individuals) == 1:
        reasons = Counter(f.reason for f in evolution.archive.recent(10**9) if isinstance(f, Failure))
        told = "; ".join(f"{count} times: {reason}" for reason, count in reasons.most_common(3))
        record(RunEnded("failed", f"nothing could be trained; {told}"))
        raise MachineError(f"No variant could be trained; most frequent reasons: {told}")
    record(RunEnded("finished", gate.ceiling))


def _evolution(
    e: _Equipment,
    seed: Individual,
    noise: Noise | None,
    breeding: Breeding,
    evaluation: Evaluation,
    record: Recorder,
    folder: RunFolder,
    memo: Memo,
    gate: Gate,
) -> Evolution:
    """The algorithm with all that it draws from and learns by."""
    config, objectives = e.config, e.config.objective_list()
    archive = Archive(seed, objectives)
    brief = Brief(e.task.title, e.task.facts(), objectives, config.constraint_list(), noise)
    sampling = Sampling(tuple(config.llm.models), config.llm.temperature, config.llm.max_tokens)
    roles = e.prompts.roles if config.search.roles else ()
    competition = Competition(config.contest, roles, e.prompts.directives, config.search.operators, config.llm.models)
    plateau = Plateau(config.plateau)
    draws = Draws(random.Random(config.run.seed), seed, e.prompts, sampling, competition, plateau)
    # Costs hold times: a run that is to be repeated exactly cannot learn from them.
    timed = config.search.schedule == "steady"
    learning = Learning(
        archive,
        noise or unknown(seed, objectives),
        competition,
        plateau,
        record.accounts,
        record,
        recall=config.memory,
        credit=config.credit if timed else replace(config.credit, usd_per_hour=0.0),
        thoughts=_thoughts(e),
        known=memo.lessons,
    )
    steering = Steering(folder.guidance, folder.frozen, seed.genome.frozen, record)
    return Evolution(
        archive, brief, draws, breeding, evaluation, learning, config.search, record,
        steering=steering, past=memo, admit=gate.admits,
    )  # fmt: skip


def _thoughts(e: _Equipment) -> Thoughts | None:
    """The first model that can think is asked about the search itself; rules cannot."""
    thinking = next((name for name in e.config.llm.models if name != "offline"), None)
    return Thoughts(e.prompts, thinking, e.config.thoughts) if thinking else None


def _guess(seed: Individual) -> Guess:
    """What one child will cost, before the first: an evaluation as long as the seed's."""
    return Guess(evaluation_seconds=sum(seed.evidence.seconds.values()))


def _write(path: Path, text: str) -> None:
    """By rename: a reader never meets half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
