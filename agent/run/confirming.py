"""Where a confirmation happens: at the end of a run, within what its limits leave, or in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from agent.budget import Budget, RunLimits
from agent.core.errors import MachineError, UserError
from agent.core.worth import WorthScale
from agent.journal.codec import read_seed
from agent.journal.confirmations import ConfirmationRecord, read_confirmations, search_end
from agent.journal.events import Event, Record, RunEnded, SearchEnded, Watch
from agent.journal.header import units_of
from agent.journal.readings import as_measured
from agent.journal.replay import Replay, read_replay
from agent.journal.store import Journal
from agent.journal.tracker import Tracker
from agent.population.candidate import SEED_ID, Individual
from agent.run.admission import Admission
from agent.run.annotations import annotate
from agent.run.branches import lineage_of
from agent.run.components import Components, open_components, pinned_level
from agent.run.config import Config
from agent.run.config_sources import read
from agent.run.confirmation import Confirmation, Request, fitted, freeze_shortlist, to_go_on_with
from agent.run.context import RunContext
from agent.run.evaluation import Evaluator
from agent.run.folder import RunFolder, locked
from agent.run.provenance import accepted_changes
from agent.run.supervisor import Supervisor

INTERRUPTED = "during the confirmation"
"""The last words of the reason for which a run ended that was stopped then."""


@dataclass(frozen=True)
class ConfirmationAtEnd:
    """The last part of a process that searched."""

    components: Components
    journal: Journal
    budget: Budget
    """The run's: what the search left of its limits, the reserve included, may be used."""
    record: Record
    watch: Watch

    def work(self, trained: Sequence[Individual], search: Admission) -> str:
        """Confirms, if that is due; returns a note on it for the end of the run, or nothing.

        `search`: the admission by which the search ended. Raises KeyboardInterrupt if it was stopped, MachineError.
        """
        config, records = self.components.config, read_confirmations(self.journal)
        if not is_due(config, records):
            return ""
        self.budget.open_reserve()
        if records:
            one = records[-1]
        else:
            settings = fitted(config.confirm, self.budget.affordable_evaluations())
            try:
                scale = _scale(self.journal)
                one = ConfirmationRecord(freeze_shortlist(trained, config, settings, self.components.task, scale=scale))
            except UserError as nothing:  # the front holds only the seed
                return str(nothing).rstrip(".")
        self.record(SearchEnded("finished", search.limit_reason))
        # What was under way at the end of the time was ended, and the evaluator with it.
        evaluator = self.components.open_evaluator() if search.is_cut else self.components.evaluator
        admission = confirm_supervised(config, one, trained, evaluator, self.budget, self.record, self.watch)
        if admission.stop_reason:
            raise KeyboardInterrupt(f"{admission.stop_reason} {INTERRUPTED}")
        return "" if one.is_complete else f"the confirmation is not finished ({admission.limit_reason})"


def is_due(config: Config, records: Sequence[ConfirmationRecord]) -> bool:
    """Does a confirmation follow the search? One that was not finished goes on; a second one never begins by itself."""
    if records:
        return not records[-1].is_complete
    at_end = config.confirm.at_end
    return config.limits.keeps_reserve if at_end == "auto" else bool(at_end)


def confirm_supervised(
    config: Config,
    one: ConfirmationRecord,
    trained: Sequence[Individual],
    evaluator: Evaluator,
    budget: Budget,
    record: Record,
    watch: Watch,
) -> Admission:
    """Works on a confirmation until it is complete, stopped or out of time. Returns the admission, which says why it ended."""
    supervisor = Supervisor(budget, (), evaluator.close, 0, watch, Replay())
    run = RunContext(record, config, Replay(), supervisor.admission, Tracker())
    with supervisor.supervised():
        Confirmation(run, evaluator, one, trained).work(config.objective_list())
    return supervisor.admission


def _scale(journal: Journal) -> WorthScale | None:
    units = units_of(journal)
    return units.scale if units else None


def confirm(folder: RunFolder, watch: Watch, request: Request, *, accept: bool = False) -> None:
    """A process that only confirms; the limits of the run do not hold for it, what it takes is counted.

    `accept`: go on although code, prompts, seed or settings have changed since the run was last worked on.
    Raises UserError for a mistake of the user's, KeyboardInterrupt if it was stopped, MachineError if it cannot go on.
    """
    if not folder.journal.is_file():
        raise UserError(f"{folder.root} holds no run: there is no {folder.journal.name} in it.")
    config = read(folder.config)
    with ExitStack() as stack:
        stack.enter_context(locked(folder.lock))
        journal = stack.enter_context(closing(Journal(folder.journal)))
        records = read_confirmations(journal)
        to_go_on_with(records, request)  # refuses before anything is opened
        components = stack.enter_context(open_components(config, watch, pinned_level(journal), with_models=False))
        try:
            _confirm_alone(components, journal, records, request, watch, accept=accept)
        finally:
            annotate(lambda: lineage_of(config, folder), journal, watch)


def _confirm_alone(
    components: Components,
    journal: Journal,
    records: Sequence[ConfirmationRecord],
    request: Request,
    watch: Watch,
    *,
    accept: bool,
) -> None:
    config, trained = components.config, _trained(components, journal)
    one = to_go_on_with(records, request)
    if one is None:
        settings = request.settings(config.confirm)
        one = ConfirmationRecord(freeze_shortlist(trained, config, settings, components.task, records, scale=_scale(journal)))
    started = replace(components.start_event(), confirms=True)
    before = [data for _, _, _, data in journal.events("started")]
    started = replace(started, accepted=accepted_changes(before[-1], started, {}, accept) if before else ())
    state, reason = search_end(journal)
    budget = Budget(RunLimits(), slots=len(components.evaluator.devices))
    budget.recall(journal.cost_rows())
    lock = threading.Lock()

    def record(event: Event) -> None:
        journal.record(event)
        with lock:
            budget.see(event)
            watch(event)

    record(started)
    try:
        admission = confirm_supervised(config, one, trained, components.evaluator, budget, record, watch)
    except KeyboardInterrupt:
        record(RunEnded("stopped", f"stopped by the user {INTERRUPTED}"))
        raise
    except MachineError as error:
        record(RunEnded("failed", str(error)))
        raise
    if admission.stop_reason:
        record(RunEnded("stopped", f"{admission.stop_reason} {INTERRUPTED}"))
        raise KeyboardInterrupt
    record(RunEnded(state, reason))


def _trained(components: Components, journal: Journal) -> list[Individual]:
    """The seed and all else that was trained, in the order of their ends, each with the mean of its trainings.

    Raises UserError if there is no seed.
    """
    rows = list(journal.events("settled", key=SEED_ID))
    if not rows:
        raise UserError("Nothing is to be confirmed: the run has not trained its seed yet.")
    seed = read_seed(rows[0][3], components.genome)
    outcomes = read_replay(journal, components.genome).outcomes.values()
    return as_measured([seed, *(one for one in outcomes if isinstance(one, Individual))], journal)
