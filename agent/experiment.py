"""The composition root: configuration -> objects -> evolution -> journal and branches. It alone names concrete classes."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from agent import config as configuration
from agent.archive import Archive
from agent.basis import changes
from agent.breeding import Breeding
from agent.budget import Budget, Guess
from agent.competition import Competition
from agent.config import Config, LlmSection
from agent.draws import Draws
from agent.equipment import Equipment, equip, pinned
from agent.errors import MachineError, UserError
from agent.evaluation import Bench, Evaluation
from agent.events import AskedAgain, Memo, RunEnded, RunStarted, Settled, Watch
from agent.evolve import Evolution
from agent.fitness import Noise
from agent.folder import RunFolder
from agent.gate import Gate, Halted
from agent.individual import SEED_ID, Birth, Failure, Individual
from agent.journal import Journal
from agent.keeper import Keeper
from agent.learning import Learning
from agent.lineage import Lineage
from agent.llm import Failover, FailoverPolicy
from agent.lock import locked
from agent.noise import measure, unknown
from agent.operators import Brief, Sampling
from agent.plateau import Plateau
from agent.recorder import Recorder
from agent.records import read_seed
from agent.reflection import Thoughts
from agent.steering import Steering


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
    with equip(config, watch) as equipment:
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        lineage.check()
        seed = equipment.bench.measure(Birth(SEED_ID, 0), equipment.genome)
        if isinstance(seed, Failure):
            raise UserError(
                f"The seed {config.seed.folder} does not train (stage {seed.stage}): {seed.reason} Mend it first."
            )
        _found(folder, equipment.config)
        with locked(folder.lock), closing(Journal(folder.journal)) as journal:
            _evolve(equipment, folder, journal, lineage, seed, Memo(), watch, equipment.begin())


def resume(folder: RunFolder, watch: Watch, said: Mapping[str, Any] | None = None, *, accept: bool = False) -> None:
    """Goes on with a run that stopped or broke: what the journal holds is not done again.

    `said`: settings that the user changes by this; any other change is refused with UserError, unless `accept`.
    """
    if not folder.journal.is_file():
        raise UserError(f"{folder.root} holds no run: there is no {folder.journal.name} in it.")
    config = configuration.over(configuration.read(folder.config), said or {})
    with locked(folder.lock), closing(Journal(folder.journal)) as journal, equip(config, watch, pinned(journal)) as equipment:
        begun = equipment.begin()
        before = [data for _, _, _, data in journal.events("started")]
        accepted = changes(before[-1], begun, said or {}, accept) if before else ()
        anew = any(change.startswith("limits.until:") for change in accepted) or "until" in (said or {}).get("limits", {})
        if said:
            _write(folder.config, config.to_toml())
        if calls := journal.unanswered():
            watch(AskedAgain(calls))
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        seed: Individual | Failure | None = None
        for _, _, key, data in journal.events("settled"):
            if key == SEED_ID:
                seed = read_seed(data, equipment.genome)
        seed = seed or equipment.bench.measure(Birth(SEED_ID, 0), equipment.genome)
        if isinstance(seed, Failure):
            raise MachineError(f"The seed does not train any more: {seed.reason}")
        begun = replace(begun, accepted=accepted, until_anew=anew)
        _evolve(equipment, folder, journal, lineage, seed, journal.memo(equipment.genome), watch, begun)


def _found(folder: RunFolder, config: Config) -> None:
    """The run's folder with its configuration and an empty journal, all at once: a crash leaves a run or none."""
    draft = RunFolder(folder.root.with_name(f".{folder.name}.{os.getpid()}"))
    try:
        draft.root.mkdir(parents=True)
        draft.config.write_text(config.to_toml(), encoding="utf-8")
        Journal(draft.journal).close()
        os.rename(draft.root, folder.root)
    except OSError as error:
        if folder.root.exists():
            raise UserError(f"Another process has just made {folder.root}: choose another --out.") from None
        raise MachineError(f"The run folder {folder.root} cannot be made: {error}.") from error
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)


def _evolve(
    e: Equipment,
    folder: RunFolder,
    journal: Journal,
    lineage: Lineage,
    seed: Individual,
    memo: Memo,
    watch: Watch,
    begun: RunStarted,
) -> None:
    """Runs the algorithm to its end and records how it ended."""
    config = e.config
    slots = len(e.bench.devices)
    guess, gpus = _guess(seed, e.bench), e.bench.gpus(seed.evidence.device)
    budget = Budget(config.limits, slots=slots, concurrency=config.llm.concurrency, guess=guess)
    budget.recall(journal.costs())
    keeper = Keeper(budget, e.models.values(), e.bench.close, config.search.births, watch, memo)
    record = Recorder(journal, lineage, keeper.see, budget, config.objective_list(), seed, memo)
    record(begun)
    # Journaled already in a resumed run; a branch that the stop prevented is made up for.
    record(Settled(seed, guess.evaluation_seconds, gpus))
    for outcome in memo.outcomes.values():
        record(Settled(outcome))
    keeper.foretell()
    gate, failover = keeper.gate, Failover(e.models, _failover_policy(config.llm), record, keeper.gives_up)
    breeding = Breeding(
        e.prompts, failover.members, e.editor, record,
        memo=memo, gate=gate, repairs=config.llm.repairs, redraws=config.llm.redraws, concurrency=config.llm.concurrency,
    )  # fmt: skip
    evaluation = Evaluation(e.bench, record, memo, gate, breeding)
    archive = Archive(seed, config.objective_list())
    try:
        with keeper.keeping():
            record.flush()  # before anything is spent: can git write here?
            noise = _noise(e, seed, memo, record, gate)
            evolution = _evolution(e, archive, noise, breeding, evaluation, record, folder, memo, gate)
            if config.search.schedule == "steady":
                evolution.steady(slots, config.llm.concurrency)
            else:
                evolution.generational()
            record.flush()
    except Halted:
        pass  # before the search began
    except KeyboardInterrupt:
        _end(record, "stopped", gate.stopped or "stopped by the user")
        raise
    except Exception as error:  # recorded whatever it is
        if not (gate.cut and isinstance(error, MachineError)):  # else: what was under way was ended
            _end(record, "failed", str(error) or repr(error))
            raise
    finally:
        breeding.close()
        evaluation.close()
        record.close()
    _conclude(record, gate, archive)


def _conclude(record: Recorder, gate: Gate, archive: Archive) -> None:
    """How a run ended that did not break. Raises KeyboardInterrupt if it was stopped, MachineError if it came to nothing."""
    if gate.stopped:
        record(RunEnded("stopped", gate.stopped))
        raise KeyboardInterrupt
    if len(archive.individuals) == 1:
        reasons = Counter(f"{f.stage}: {f.reason}" for f in archive.recent(10**9) if isinstance(f, Failure))
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        said = f"No variant was trained{f' before the end ({gate.ceiling})' if gate.ceiling else ''}"
        said += f"; most frequent reasons: {told}" if told else ""
        record(RunEnded("failed", said))
        raise MachineError(said)
    record(RunEnded("finished", gate.ceiling))


def _end(record: Recorder, state: str, reason: str) -> None:
    with suppress(MachineError):  # what broke may be the journal; the error that is under way says so
        record(RunEnded(state, reason))


def _failover_policy(llm: LlmSection) -> FailoverPolicy:
    return FailoverPolicy(
        failures=llm.rest_after, first_cool_down_seconds=llm.rest_seconds, patience_seconds=llm.patience_hours * 3600
    )


def _noise(e: Equipment, seed: Individual, memo: Memo, record: Recorder, gate: Gate) -> Noise | None:
    objectives, run = e.config.objective_list(), e.config.run
    return measure(seed, e.bench, objectives, e.config.noise.trainings, run.training_seed, memo.repeats, record, gate)


def _evolution(
    e: Equipment,
    archive: Archive,
    noise: Noise | None,
    breeding: Breeding,
    evaluation: Evaluation,
    record: Recorder,
    folder: RunFolder,
    memo: Memo,
    gate: Gate,
) -> Evolution:
    """The algorithm with all that it draws from and learns by."""
    config, objectives, seed = e.config, e.config.objective_list(), archive.seed
    brief = Brief(e.task.title, e.task.facts(), objectives, config.constraint_list(), noise)
    sampling = Sampling(tuple(config.llm.models), config.llm.temperature, config.llm.max_tokens)
    roles = e.prompts.roles if config.search.roles else ()
    competition = Competition(config.contest, roles, e.prompts.directives, config.search.operators, config.llm.models)
    plateau = Plateau(config.plateau)
    # Costs hold times: a run that is to be repeated exactly cannot learn from them.
    timed = config.search.schedule == "steady"
    # A steady run cannot draw again what an earlier process drew, and must not draw the same for others.
    chance = f"{config.run.seed} after {len(memo.births)}" if memo.births and timed else config.run.seed
    draws = Draws(random.Random(chance), seed, e.prompts, sampling, competition, plateau)
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


def _thoughts(e: Equipment) -> Thoughts | None:
    """The first model that can think is asked about the search itself; rules cannot."""
    thinking = next((name for name in e.config.llm.models if name != "offline"), None)
    return Thoughts(e.prompts, thinking, e.config.thoughts) if thinking else None


def _guess(seed: Individual, bench: Bench) -> Guess:
    """What one child will cost, before the first: an evaluation as long as the seed's."""
    seconds = sum(seed.evidence.seconds.values())
    return Guess(evaluation_seconds=seconds, gpu_seconds=seconds * bench.gpus(seed.evidence.device))


def _write(path: Path, text: str) -> None:
    """By rename: a reader never meets half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
