"""Put a run together: configuration -> components -> search -> journal and branches. Only this module names all classes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from agent.budget import Budget
from agent.core.errors import Halted, MachineError, UserError
from agent.core.files import write_whole
from agent.core.noise import Noise
from agent.core.worth import WorthScale
from agent.journal.events import Advised, CallsRepeated, NoiseMeasured, RunEnded, RunStarted, Settled, Watch
from agent.journal.header import recorded_sizes, recorded_units
from agent.journal.readings import as_measured
from agent.journal.replay import Replay, read_replay
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.lineage import BranchWriter, Lineage
from agent.llm import Failover, FailoverPolicy
from agent.operators import Brief, Sampling
from agent.population.archive import Archive
from agent.population.candidate import Failure, Individual
from agent.run.admission import Admission
from agent.run.annotations import annotate
from agent.run.branches import lineage_of
from agent.run.breeding import BreedingPool
from agent.run.components import Components, completed, open_components, pinned_level
from agent.run.config import Config, LlmSection
from agent.run.config_sources import read, with_changes
from agent.run.confirming import INTERRUPTED, ConfirmationAtEnd
from agent.run.context import RunContext
from agent.run.evaluation import EvaluationPool, floors_of
from agent.run.event_bus import EventBus
from agent.run.first_words import doubt_noise, doubt_seed, tell_of_data
from agent.run.folder import RunFolder, locked
from agent.run.loop import GenerationalLoop, SearchLoop
from agent.run.messages import MessageWriter
from agent.run.model_check import check_models
from agent.run.provenance import accepted_changes
from agent.run.search_state import SearchState
from agent.run.seed import SeedTrainings, check
from agent.run.sizing import size, with_sizes
from agent.run.steady_loop import SteadyLoop
from agent.run.supervisor import Supervisor
from agent.search.bandit import Bandits, BanditSettings
from agent.search.feedback import Feedback, FeedbackSettings
from agent.search.null import SHARES, NullSampler
from agent.search.plateau import Plateau, PlateauSettings
from agent.search.recipes import RecipeSampler
from agent.search.reflection import Reflector
from agent.search.retraining import Retraining
from agent.search.steering import Steering


def free_folder(config: Config, name: str) -> RunFolder:
    """The first of `runs/NAME-1`, `runs/NAME-2`, ... for which neither a folder nor branches exist."""
    for number in count(1):
        folder = RunFolder(Path("runs") / f"{name}-{number}")
        if not folder.root.exists() and not lineage_of(config, folder).earlier():
            return folder
    raise AssertionError("numbers do not end")


def start(config: Config, folder: RunFolder, watch: Watch) -> None:
    """Start a new run and work on it. Raises UserError before anything is spent or written, MachineError if it cannot go on."""
    if folder.root.exists():
        raise UserError(f"The run folder {folder.root} exists already: choose another --out, or `evolve resume` it.")
    with open_components(config, watch) as components:
        lineage = lineage_of(config, folder, components.task)
        lineage.check()
        for note in lineage.notes:
            watch(Advised(note))
        check(components.evaluator, components.genome, config.seed.folder)
        components = replace(components, config=completed(components.config, components.task))  # what was adapted to the seed
        tell_of_data(components.task, watch)
        folder.make(components.config.to_toml())
        with locked(folder.lock), closing(Journal(folder.journal)) as journal:
            Process(components, folder, journal, lineage, watch).work(Replay(), components.start_event())


def resume(folder: RunFolder, watch: Watch, changes: Mapping[str, Any] | None = None, *, accept: bool = False) -> None:
    """Continue a run that stopped or broke; work that the journal holds is not repeated.

    `changes`: settings that the user changes. Raises UserError for any other change, unless `accept`.
    """
    folder.check_exists()
    config = with_changes(read(folder.config), changes or {})
    with ExitStack() as stack:
        stack.enter_context(locked(folder.lock))
        journal = stack.enter_context(closing(Journal(folder.journal)))
        components = stack.enter_context(open_components(config, watch, pinned_level(journal)))
        started, replay = components.start_event(), read_replay(journal, components.genome)
        before = [data for _, _, _, data in journal.events("started")]
        accept = accept or replay.seed is None  # nothing is measured yet with which results would have to be comparable
        accepted = accepted_changes(before[-1], started, changes or {}, accept) if before else ()
        renewed = any(change.startswith("limits.until:") for change in accepted)
        renewed = renewed or "until" in (changes or {}).get("limits", {})
        if changes:
            write_whole(folder.config, config.to_toml())
        if calls := journal.unanswered():
            watch(CallsRepeated(calls))
        lineage = lineage_of(config, folder, components.task)
        started = replace(started, accepted=accepted, until_restarted=renewed)
        Process(components, folder, journal, lineage, watch).work(replay, started)


@dataclass(frozen=True)
class Process:
    """One process of a run, from its recorded start to its recorded end."""

    components: Components
    folder: RunFolder
    journal: Journal
    lineage: Lineage
    watch: Watch

    def work(self, replay: Replay, started: RunStarted) -> None:
        """Train the seed, run the search and record how it ended.

        Raises KeyboardInterrupt if the run was stopped, MachineError if it cannot go on or nothing could be trained.
        """
        config, evaluator = self.components.config, self.components.evaluator
        tracker = Tracker()
        kinds = ("drawn", "asked", "answered", "bred", "mended", "settled")
        tracker.recall(self.journal.events_without_texts(*kinds), replay.answers)
        budget = Budget(
            config.limits.for_search(config.confirm.at_end),
            slots=len(evaluator.devices),
            concurrency=config.llm.concurrency,
            tracker=tracker,
        )
        budget.recall(self.journal.cost_rows())
        supervisor = Supervisor(
            budget, self.components.models.values(), evaluator.close, config.search.candidates, self.watch, replay
        )
        record = self._event_bus(replay, tracker, budget, supervisor)
        run = RunContext(record, config, replay, supervisor.admission, tracker)
        record(started)
        try:
            self._search(run, supervisor, record, budget)
        finally:
            annotate(lambda: self.lineage, self.journal, self.watch)

    def _event_bus(self, replay: Replay, tracker: Tracker, budget: Budget, supervisor: Supervisor) -> EventBus:
        messages = MessageWriter(self.journal, self.components.config.objective_list())
        branches = BranchWriter(self.lineage, replay.commits, lambda events: self.journal.record(*events))
        return EventBus(self.journal, branches, tracker, budget, supervisor.see, messages)

    def _search(self, run: RunContext, supervisor: Supervisor, record: EventBus, budget: Budget) -> None:
        components, admission = self.components, run.admission
        failover = Failover(components.models, _failover_policy(run.config.llm), record, supervisor.gives_up)
        breeding = BreedingPool(run, components.prompts, failover.members, components.editor)
        evaluation = EvaluationPool(run, components.evaluator, breeding)
        archive: Archive | None = None
        try:
            with supervisor.supervised():
                check_models(run, components, self.journal, failover, self.watch)
                trainings = SeedTrainings(run, components.evaluator, self.watch)
                archive = self._archive(run, trainings, supervisor)
                record.flush()  # raises now, before any candidate is paid for, if git cannot write
                floor = trainings.measure_noise(archive.seed, archive.objectives)
                doubt_noise(floor, archive.objectives, self.watch)
                units = self._units(run, archive, floor)
                record(units)
                archive.measure_by(units.scale)
                archive.replace(*as_measured([archive.seed], self.journal))
                self._sized(archive.seed, record)._loop(run, archive, floor, breeding, evaluation).work()
                record.flush()
        except Halted:
            pass  # stopped before the search started
        except KeyboardInterrupt:
            _record_end(record, "stopped", admission.stop_reason or "stopped by the user")
            raise
        except Exception as error:  # any error is recorded
            if not (admission.is_cut and isinstance(error, MachineError)):  # else work under way was ended on purpose
                _record_end(record, "failed", str(error) or repr(error))
                if isinstance(error, UserError):  # no longer "nothing is spent": the run has failed
                    raise MachineError(str(error)) from error
                raise
        finally:
            breeding.close()
            evaluation.close()
            record.close()
        self._confirm(run, record, budget, archive)

    def _archive(self, run: RunContext, trainings: SeedTrainings, supervisor: Supervisor) -> Archive:
        """An archive of the seed, once that is trained. Makes up for branches of earlier outcomes that a stop prevented."""
        components, config = self.components, run.config
        seed = trainings.train(components.genome)
        floors = floors_of(components.task, seed.fitness, config.objectives, config.constraint_list())
        components.evaluator.require(floors)
        components.evaluator.expect(seed.fitness)
        if not run.replay.seed:
            doubt_seed(components.task, seed.fitness, self.watch)
        for outcome in run.replay.outcomes.values():
            run.record(Settled(outcome))
        supervisor.update_forecast()
        return Archive(seed, config.objective_list())

    def _confirm(self, run: RunContext, record: EventBus, budget: Budget, archive: Archive | None) -> None:
        """Ends the run, with a confirmation of its front before if one is due. Raises as `_conclude` does."""
        admission, note = run.admission, ""
        if archive and len(archive.individuals) > 1 and not admission.stop_reason:
            at_end = ConfirmationAtEnd(self.components, self.journal, budget, record, self.watch)
            try:
                note = at_end.work(tuple(archive.individuals.values()), admission)
            except KeyboardInterrupt as stop:
                _record_end(record, "stopped", str(stop) or f"stopped by the user {INTERRUPTED}")
                raise
            except Exception as error:  # recorded whatever it is
                _record_end(record, "failed", str(error) or repr(error))
                raise
        _conclude(record, admission, archive, note)

    def _sized(self, seed: Individual, record: EventBus) -> Process:
        """The same process with the settings that the configuration leaves to the run."""
        config, evaluator = self.components.config, self.components.evaluator
        sizes = recorded_sizes(self.journal)
        if sizes is None:
            sizes, warning = size(config, seed, len(evaluator.devices), evaluator.gpus(seed.evidence.device))
            record(sizes)
            if warning:
                self.watch(Advised(warning))
        return replace(self, components=replace(self.components, config=with_sizes(config, sizes)))

    def _units(self, run: RunContext, archive: Archive, floor: Noise | None) -> NoiseMeasured:
        """As they were fixed at the start of the run."""
        if known := recorded_units(self.journal):
            return known
        noise, bounds = floor or Noise.unmeasured(archive.seed.fitness, archive.objectives), self.components.evaluator.constraints
        return NoiseMeasured(floor, WorthScale.of(archive.objectives, noise, bounds=bounds, reference=run.config.reference))

    def _loop(
        self,
        run: RunContext,
        archive: Archive,
        floor: Noise | None,
        breeding: BreedingPool,
        evaluation: EvaluationPool,
    ) -> SearchLoop:
        """Put the search together."""
        config, components, seed = self.components.config, self.components, archive.seed
        task, objectives = components.task, archive.objectives
        sampler = self._sampler(run, seed)
        steady = config.search.schedule == "steady"
        # Costs depend on timing: a run that must be exactly repeatable cannot learn from them.
        credit = config.credit if steady else replace(config.credit, usd_per_hour=0.0)
        feedback = Feedback(
            archive,
            floor or Noise.unmeasured(seed.fitness, objectives),
            sampler,
            run.tracker,
            FeedbackSettings(config.memory, credit),
            _reflector(components),
            run.replay.lessons,
        )
        steering = Steering(self.folder.guidance, self.folder.frozen, seed.genome.frozen)
        sampler.view = steering.apply
        brief = Brief(task.title, task.facts(), objectives, config.constraint_list(), floor)
        retraining = Retraining(archive, floor or Noise.unmeasured(seed.fitness, objectives), config.retrain)
        search = SearchState(archive, brief, config.search, sampler, feedback, retraining, steering)
        if not steady:
            return GenerationalLoop(run, search, breeding, evaluation)
        slots = len(components.evaluator.devices)
        # A person answers one prompt after the other: what is asked too early only misses results.
        person = all(model.waits_for_person for model in components.models.values()) and components.models
        at_once = min(slots, config.llm.concurrency) if person else config.llm.concurrency
        return SteadyLoop(run, search, breeding, evaluation, slots, at_once)

    def _sampler(self, run: RunContext, seed: Individual) -> RecipeSampler:
        config, prompts = self.components.config, self.components.prompts
        roles = prompts.roles if config.search.roles else ()
        # Candidates of these controls know nothing of each other: nothing is learned for the next draws either.
        contest = BanditSettings("uniform", "uniform", "uniform") if config.search.is_independent else config.contest
        kind, operators = (NullSampler, SHARES) if config.run.null else (RecipeSampler, config.search.shares)
        bandits = Bandits(contest, roles, prompts.directives, operators, config.llm.models)
        # A resumed steady run continues with other random numbers than the earlier process used.
        earlier = len(run.replay.candidates) if config.search.schedule == "steady" else 0
        rng = random.Random(f"{config.run.seed} after {earlier}" if earlier else config.run.seed)
        sampling = Sampling(tuple(config.llm.models), config.llm.temperature, config.llm.max_tokens)
        plateau = Plateau(PlateauSettings(0) if config.search.is_independent else config.plateau)
        sampler = kind(rng, seed, prompts, sampling, bandits, plateau)
        sampler.any_block = not config.search.shares  # the paper rewrites any block
        return sampler


def _conclude(record: EventBus, admission: Admission, archive: Archive | None, note: str = "") -> None:
    """Records the end of a run that did not break. `archive`: None if it ended before its seed was trained; `note`: about its
    confirmation.

    Raises KeyboardInterrupt if it was stopped, MachineError if nothing was trained.
    """
    if admission.stop_reason:
        record(RunEnded("stopped", admission.stop_reason))
        raise KeyboardInterrupt
    if archive is None:
        text = f"The seed was not trained before the end ({admission.limit_reason})"
        record(RunEnded("failed", text))
        raise MachineError(text)
    if len(archive.individuals) == 1:
        reasons = Counter(f"{f.stage}: {f.reason}" for f in archive.recent(10**9) if isinstance(f, Failure))
        frequent = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        limit = admission.limit_reason
        text = f"No variant was trained{f' before the end ({limit})' if limit else ''}"
        text += f"; most frequent reasons: {frequent}" if frequent else ""
        record(RunEnded("failed", text))
        raise MachineError(text)
    record(RunEnded("finished", "; ".join(filter(None, (admission.limit_reason, note)))))


def _record_end(record: EventBus, state: str, reason: str) -> None:
    with suppress(MachineError):  # the journal itself may be broken; the error that is being raised says so
        record(RunEnded(state, reason))


def _failover_policy(llm: LlmSection) -> FailoverPolicy:
    return FailoverPolicy(
        failures=llm.rest_after, first_cool_down_seconds=llm.rest_seconds, patience_seconds=llm.patience_hours * 3600
    )


def _reflector(components: Components) -> Reflector | None:
    """Asks the first model other than `offline`, which cannot answer questions about the search; None without one.

    None too for a control whose candidates know nothing of each other.
    """
    config = components.config
    if config.search.is_independent:
        return None
    thinking = next((name for name in config.llm.models if name != "offline"), None)
    planned = min(config.search.candidates, config.limits.variants or config.search.candidates)
    return Reflector(components.prompts, thinking, config.thoughts, planned) if thinking else None
