"""The composition root: configuration -> objects -> evolution -> journal and branches. It alone names concrete classes."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from agent.budget import Budget, Guess
from agent.core.errors import Halted, MachineError, UserError
from agent.core.objectives import Noise
from agent.journal.codec import read_seed
from agent.journal.events import CallsRepeated, RunEnded, RunStarted, Settled, Watch
from agent.journal.replay import Replay, read_replay
from agent.journal.store import Journal
from agent.lineage import Lineage
from agent.llm import Failover, FailoverPolicy
from agent.operators import Brief
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual
from agent.run import config as configuration
from agent.run.admission import Admission
from agent.run.breeding import BreedingPool
from agent.run.components import Components, open_components, pinned
from agent.run.config import Config, LlmSection
from agent.run.evaluation import EvaluationPool, Evaluator
from agent.run.event_bus import EventBus
from agent.run.folder import RunFolder, locked
from agent.run.noise import measure, unknown
from agent.run.provenance import changes
from agent.run.supervisor import Supervisor
from agent.search.bandit import Bandits
from agent.search.evolve import Evolution
from agent.search.feedback import Feedback
from agent.search.plateau import Plateau
from agent.search.recipes import RecipeSampler, Sampling
from agent.search.reflection import Reflector
from agent.search.steering import Steering


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
    with open_components(config, watch) as components:
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        lineage.check()
        seed = components.evaluator.measure(Candidate(SEED_ID, 0), components.genome)
        if isinstance(seed, Failure):
            raise UserError(
                f"The seed {config.seed.folder} does not train (stage {seed.stage}): {seed.reason} Mend it first."
            )
        _found(folder, components.config)
        with locked(folder.lock), closing(Journal(folder.journal)) as journal:
            _evolve(components, folder, journal, lineage, seed, Replay(), watch, components.begin())


def resume(folder: RunFolder, watch: Watch, said: Mapping[str, Any] | None = None, *, accept: bool = False) -> None:
    """Goes on with a run that stopped or broke: what the journal holds is not done again.

    `said`: settings that the user changes by this; any other change is refused with UserError, unless `accept`.
    """
    if not folder.journal.is_file():
        raise UserError(f"{folder.root} holds no run: there is no {folder.journal.name} in it.")
    config = configuration.over(configuration.read(folder.config), said or {})
    with ExitStack() as stack:
        stack.enter_context(locked(folder.lock))
        journal = stack.enter_context(closing(Journal(folder.journal)))
        components = stack.enter_context(open_components(config, watch, pinned(journal)))
        begun = components.begin()
        before = [data for _, _, _, data in journal.events("started")]
        accepted = changes(before[-1], begun, said or {}, accept) if before else ()
        anew = any(change.startswith("limits.until:") for change in accepted) or "until" in (said or {}).get("limits", {})
        if said:
            _write(folder.config, config.to_toml())
        if calls := journal.unanswered():
            watch(CallsRepeated(calls))
        lineage = Lineage.open(Path(config.seed.folder), folder.root, folder.name)
        seed: Individual | Failure | None = None
        for _, _, key, data in journal.events("settled"):
            if key == SEED_ID:
                seed = read_seed(data, components.genome)
        seed = seed or components.evaluator.measure(Candidate(SEED_ID, 0), components.genome)
        if isinstance(seed, Failure):
            raise MachineError(f"The seed does not train any more: {seed.reason}")
        begun = replace(begun, accepted=accepted, until_restarted=anew)
        _evolve(components, folder, journal, lineage, seed, read_replay(journal, components.genome), watch, begun)


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
    e: Components,
    folder: RunFolder,
    journal: Journal,
    lineage: Lineage,
    seed: Individual,
    replay: Replay,
    watch: Watch,
    begun: RunStarted,
) -> None:
    """Runs the algorithm to its end and records how it ended."""
    config = e.config
    slots = len(e.evaluator.devices)
    guess, gpus = _guess(seed, e.evaluator), e.evaluator.gpus(seed.evidence.device)
    budget = Budget(config.limits, slots=slots, concurrency=config.llm.concurrency, guess=guess)
    budget.recall(journal.cost_rows())
    supervisor = Supervisor(budget, e.models.values(), e.evaluator.close, config.search.candidates, watch, replay)
    record = EventBus(journal, lineage, supervisor.see, budget, config.objective_list(), seed, replay)
    record(begun)
    # Journaled already in a resumed run; a branch that the stop prevented is made up for.
    record(Settled(seed, guess.evaluation_seconds, gpus))
    for outcome in replay.outcomes.values():
        record(Settled(outcome))
    supervisor.foretell()
    admission, ensemble = supervisor.admission, Failover(e.models, _waiting(config.llm), record, supervisor.gives_up)
    breeding = BreedingPool(
        e.prompts, ensemble.members, e.editor, record,
        replay=replay, admission=admission,
        repairs=config.llm.repairs, redraws=config.llm.redraws, concurrency=config.llm.concurrency,
    )  # fmt: skip
    evaluation = EvaluationPool(e.evaluator, record, replay, admission, breeding)
    archive = Archive(seed, config.objective_list())
    try:
        with supervisor.keeping():
            record.flush()  # before anything is spent: can git write here?
            noise = _noise(e, seed, replay, record, admission)
            evolution = _evolution(e, archive, noise, breeding, evaluation, record, folder, replay, admission)
            if config.search.schedule == "steady":
                evolution.steady(slots, config.llm.concurrency)
            else:
                evolution.generational()
            record.flush()
    except Halted:
        pass  # before the search began
    except KeyboardInterrupt:
        _end(record, "stopped", admission.stopped or "stopped by the user")
        raise
    except Exception as error:  # recorded whatever it is
        if not (admission.cut and isinstance(error, MachineError)):  # else: what was under way was ended
            _end(record, "failed", str(error) or repr(error))
            raise
    finally:
        breeding.close()
        evaluation.close()
        record.close()
    _conclude(record, admission, archive)


def _conclude(record: EventBus, admission: Admission, archive: Archive) -> None:
    """How a run ended that did not break. Raises KeyboardInterrupt if it was stopped, MachineError if it came to nothing."""
    if admission.stopped:
        record(RunEnded("stopped", admission.stopped))
        raise KeyboardInterrupt
    if len(archive.individuals) == 1:
        reasons = Counter(f"{f.stage}: {f.reason}" for f in archive.recent(10**9) if isinstance(f, Failure))
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        said = f"No variant was trained{f' before the end ({admission.ceiling})' if admission.ceiling else ''}"
        said += f"; most frequent reasons: {told}" if told else ""
        record(RunEnded("failed", said))
        raise MachineError(said)
    record(RunEnded("finished", admission.ceiling))


def _end(record: EventBus, state: str, reason: str) -> None:
    with suppress(MachineError):  # what broke may be the journal; the error that is under way says so
        record(RunEnded(state, reason))


def _waiting(llm: LlmSection) -> FailoverPolicy:
    return FailoverPolicy(failures=llm.rest_after, first_rest_seconds=llm.rest_seconds, seconds=llm.patience_hours * 3600)


def _noise(e: Components, seed: Individual, replay: Replay, record: EventBus, admission: Admission) -> Noise | None:
    objectives, run = e.config.objective_list(), e.config.run
    return measure(seed, e.evaluator, objectives, e.config.noise.trainings, run.training_seed, replay.repeats, record, admission)


def _evolution(
    e: Components,
    archive: Archive,
    noise: Noise | None,
    breeding: BreedingPool,
    evaluation: EvaluationPool,
    record: EventBus,
    folder: RunFolder,
    replay: Replay,
    admission: Admission,
) -> Evolution:
    """The algorithm with all that it draws from and learns by."""
    config, objectives, seed = e.config, e.config.objective_list(), archive.seed
    brief = Brief(e.task.title, e.task.facts(), objectives, config.constraint_list(), noise)
    sampling = Sampling(tuple(config.llm.models), config.llm.temperature, config.llm.max_tokens)
    roles = e.prompts.roles if config.search.roles else ()
    bandits = Bandits(config.contest, roles, e.prompts.directives, config.search.operators, config.llm.models)
    plateau = Plateau(config.plateau)
    # Costs hold times: a run that is to be repeated exactly cannot learn from them.
    timed = config.search.schedule == "steady"
    # A steady run cannot draw again what an earlier process drew, and must not draw the same for others.
    chance = f"{config.run.seed} after {len(replay.candidates)}" if replay.candidates and timed else config.run.seed
    sampler = RecipeSampler(random.Random(chance), seed, e.prompts, sampling, bandits, plateau)
    learning = Feedback(
        archive,
        noise or unknown(seed, objectives),
        bandits,
        plateau,
        record.accounts,
        record,
        recall=config.memory,
        credit=config.credit if timed else replace(config.credit, usd_per_hour=0.0),
        thoughts=_thoughts(e),
        known=replay.lessons,
    )
    steering = Steering(folder.guidance, folder.frozen, seed.genome.frozen, record)
    return Evolution(
        archive, brief, sampler, breeding, evaluation, learning, config.search, record,
        steering=steering, past=replay, admit=admission.admits,
    )  # fmt: skip


def _thoughts(e: Components) -> Reflector | None:
    """The first model that can think is asked about the search itself; rules cannot."""
    thinking = next((name for name in e.config.llm.models if name != "offline"), None)
    return Reflector(e.prompts, thinking, e.config.thoughts) if thinking else None


def _guess(seed: Individual, evaluator: Evaluator) -> Guess:
    """What one child will cost, before the first: an evaluation as long as the seed's."""
    seconds = sum(seed.evidence.seconds.values())
    return Guess(evaluation_seconds=seconds, gpu_seconds=seconds * evaluator.gpus(seed.evidence.device))


def _write(path: Path, text: str) -> None:
    """By rename: a reader never meets half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
