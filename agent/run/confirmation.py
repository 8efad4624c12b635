"""Confirms the front of a run: trains it again on fresh training seeds, opens the test split once, and judges.

Every step is journaled before the next one: the shortlist before anything is trained, the opening of the test split before
its labels are read, each training as it ends, the verdicts when all are there. So a confirmation that broke goes on where it
stood, with the same programs and seeds, and that is the same look at the test split.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from agent.core.errors import Halted, MachineError, UserError
from agent.core.objectives import Objective
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.confirmations import ConfirmationRecord
from agent.journal.events import Retrained, SealOpened, ShortlistFrozen, VerdictsReached
from agent.population import selection
from agent.population.candidate import SEED_ID, Individual
from agent.run.config import Config, ConfirmSection
from agent.run.context import RunContext
from agent.run.evaluation import AHEAD, Evaluator
from sandbox.tasks import Task
from sandbox.tasks.common.job import StageFailure

NULL_COPIES = 2
"""Copies of the seed that differ from it by a comment: what is confirmed of them shows what chance alone confirms."""
FIRST_FRESH_SEED = 1_000_000
"""Above `run.training_seed`: far from the training seeds of the noise, which follow on that one."""
TOO_FEW_TO_SPREAD = 2
"""So many members are not spread over the front."""
FEWEST_IN_A_HURRY = 3
"""Trainings of each program below which no lack of time leads."""
IN_TIME = 0.8
"""Share of the affordable evaluations that is planned: those that were seen may have failed early."""
_NOTHING = "Nothing is to be confirmed: the front holds only the seed."


@dataclass(frozen=True)
class Request:
    """What the user asks of a confirmation by the command line."""

    trainings: int | None = None
    """None: as configured, here and below."""
    members: int | None = None
    force: bool = False
    """Another confirmation, although there was one."""

    def settings(self, config: ConfirmSection) -> ConfirmSection:
        changed = {"trainings": self.trainings, "members": self.members}
        return config.model_copy(update={key: value for key, value in changed.items() if value is not None})


def fitted(settings: ConfirmSection, affordable: float | None) -> ConfirmSection:
    """Fewer members, then fewer trainings, where the configured ones would not be done in time: half a confirmation is none.

    `affordable`: evaluations that the limits allow; None: any number. Nothing is measured yet, so that this favours nobody. Where
    not even the least fits, all stay as they are: the user will have to go on with it.
    """
    if affordable is None:
        return settings
    fewer = [(members, settings.trainings) for members in range(settings.members, 0, -1)]
    fewer += [(1, trainings) for trainings in range(settings.trainings - 1, FEWEST_IN_A_HURRY - 1, -1)]
    for members, trainings in fewer:
        if (1 + NULL_COPIES + members) * trainings <= IN_TIME * affordable:
            return settings.model_copy(update={"members": members, "trainings": trainings})
    return settings


def freeze_shortlist(
    trained: Sequence[Individual],
    config: Config,
    settings: ConfirmSection,
    task: Task,
    earlier: Sequence[ConfirmationRecord] = (),
    *,
    scale: WorthScale | None = None,
) -> ShortlistFrozen:
    """What the next confirmation trains. `trained`: the seed and all others; `earlier`: confirmations of the run so far;
    `scale`: by which the run measures worth, None where it has none.

    Raises UserError if the front holds nothing but the seed.
    """
    objectives = config.objective_list()
    seed = next(one for one in trained if one.id == SEED_ID)
    front = [one for one in selection.front((one for one in trained if not one.fault), objectives) if one.id != SEED_ID]
    if not front:
        raise UserError(_NOTHING)
    chosen = _members(front, objectives, scale, settings.members)
    chosen.sort(key=lambda one: one.id)
    nulls = {f"null-{n}": null_copy(seed.genome, n) for n in range(1, NULL_COPIES + 1)}
    members: dict[str, Mapping[str, float] | None] = {SEED_ID: dict(seed.fitness.values), **dict.fromkeys(nulls)}
    members |= {one.id: dict(one.fitness.values) for one in chosen}
    first = fresh_seed(config, earlier)
    turns = [id for _ in range(settings.trainings) for id in members]
    return ShortlistFrozen(
        number=len(earlier) + 1,
        members=members,
        nulls=nulls,
        plan=tuple((id, first + place) for place, id in enumerate(turns)),
        margin=settings.margin,
        has_test_split=task.has_test_split,
        test_note=task.test_note,
        forced=bool(earlier),
        left_out=len(front) - len(chosen),
    )


def _members(
    front: Sequence[Individual], objectives: Sequence[Objective], scale: WorthScale | None, count: int
) -> list[Individual]:
    """Those that are best spread over the front, its ends first; of two or fewer, that would be its ends alone: those that add
    most to the worth of what was chosen before them."""
    if scale is None or count >= len(front) or count > TOO_FEW_TO_SPREAD:
        return selection.elites(front, objectives, count)
    chosen: list[Individual] = []
    for _ in range(count):
        fitnesses = [one.fitness for one in chosen]
        rest = [one for one in front if one not in chosen]
        chosen.append(max(rest, key=lambda one: scale.worth([*fitnesses, one.fitness])))
    return chosen


def fresh_seed(config: Config, earlier: Iterable[ConfirmationRecord]) -> int:
    """From this one on, no training of the run has used any training seed."""
    used = [seed for one in earlier for _, seed in one.shortlist.plan]
    of_search = config.run.training_seed + max(FIRST_FRESH_SEED, config.noise.trainings + 1)
    return max([of_search, *(seed + 1 for seed in used)])


def null_copy(genome: Genome, number: int) -> dict[str, str]:
    """The files of the same program with a comment behind the first one."""
    first, *_ = genome.files
    text = genome.files[first]
    return {**genome.files, first: f"{text}{'' if text.endswith(chr(10)) else chr(10)}# null copy {number}: nothing is changed\n"}


class Confirmation:
    """Makes the trainings of one confirmation that were not made yet, and reaches its verdicts."""

    def __init__(self, run: RunContext, evaluator: Evaluator, record: ConfirmationRecord, trained: Iterable[Individual]) -> None:
        """`record`: how far it has come; `trained`: the seed and all others of the run."""
        self._run, self._evaluator, self._record = run, evaluator, record
        genomes = {one.id: one.genome for one in trained}
        frozen = record.shortlist
        genomes |= {id: genomes[SEED_ID].with_same_rules(dict(files)) for id, files in frozen.nulls.items()}
        self._genomes = {id: genomes[id] for id in frozen.members}
        self._seal = threading.Lock()

    def work(self, objectives: Sequence[Objective]) -> bool:
        """Trains until everything is trained, or nothing more is admitted. True if the verdicts are reached.

        Raises MachineError if the machine is at fault.
        """
        if self._record.is_complete:
            return True
        self._run.record(self._record.shortlist)
        left = [(id, seed) for id, seed in self._record.shortlist.plan if seed not in self._record.trainings]
        threads = ThreadPoolExecutor(AHEAD * len(self._evaluator.devices) + 1, thread_name_prefix="confirmation")
        try:
            futures = [threads.submit(self._train, id, seed) for id, seed in left]
            if not self._finish(futures):
                return False
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # a run that is stopped at once does not wait for a training
        verdicts = self._record.judge(objectives)
        self._run.record(VerdictsReached(self._record.shortlist.number, verdicts))
        self._record.verdicts = verdicts
        return True

    def _finish(self, futures: Sequence[Future[None]]) -> bool:
        """Waits for all of them. False if some were not admitted."""
        halted = False
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            try:
                future.result()
            except Halted:
                halted = True
        return not halted

    def _train(self, id: str, training_seed: int) -> None:
        """One training, from its admission to its row in the journal. Raises Halted if it is not admitted or was cut off."""
        frozen, admission = self._record.shortlist, self._run.admission
        name = Retrained.id_of(id, training_seed)
        admission.before_evaluation(name)

        def admit() -> None:
            admission.before_evaluation(name)
            if frozen.has_test_split:
                self._open_seal()

        try:
            timed = self._evaluator.retrain(name, self._genomes[id], training_seed, test_too=frozen.has_test_split, admit=admit)
        except MachineError:
            if admission.is_cut:  # the sandbox was closed to end it
                raise Halted from None
            raise
        if admission.is_cut:
            raise Halted
        match timed.result:
            case StageFailure(stage=stage, reason=reason):
                values, test_values, why = None, None, f"{stage}: {reason}"
            case measured:
                values, test_values, why = dict(measured.values), measured.test_values, ""
        test = dict(test_values) if test_values is not None else None
        ended = Retrained(frozen.number, id, training_seed, values, test, why, timed.seconds, timed.gpus)
        self._run.record(ended)
        self._record.trainings[training_seed] = ended

    def _open_seal(self) -> None:
        """Journals the opening before the first test label is read; returns when that is safe on disk."""
        with self._seal:
            if not self._record.is_opened:
                self._run.record(SealOpened(self._record.shortlist.number))
                self._record.is_opened = True


def to_go_on_with(records: Sequence[ConfirmationRecord], request: Request) -> ConfirmationRecord | None:
    """The confirmation that was not finished; None for a new one. Raises UserError for what the user has to force."""
    if not records or request.force:
        return None
    last = records[-1]
    if not last.is_complete:
        _check_same(last.shortlist, request)
        return last
    opened = " and has opened its test split" if last.is_opened else ""
    raise UserError(
        f"This run was confirmed already{opened}: what a second look finds is found more easily by chance; --force takes it all "
        "the same, and every report counts it."
    )


def _check_same(frozen: ShortlistFrozen, request: Request) -> None:
    """Raises UserError if a confirmation that goes on is to be another one than was frozen."""
    trainings = sum(id == SEED_ID for id, _ in frozen.plan)
    members = len(frozen.members) - len(frozen.nulls) - 1
    different = request.trainings not in (None, trainings) or (request.members is not None and request.members < members)
    if different:
        raise UserError(
            f"The confirmation that is not finished was frozen with {members} members and {trainings} trainings of each: leave "
            "--members and --trainings out, or begin another one with --force."
        )
