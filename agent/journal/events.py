"""What happens in a run: one frozen type for each kind of event. The journal lists them, and a resume reads them back.

The names under which they stand in a journal file are fixed in `codec`; names in here may change, those may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.core.objectives import Fitness
from agent.core.verdicts import Judgement
from agent.llm import Completion, CoolDownEnded, CoolDownStarted, Message
from agent.memory import Lesson
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Outcome, Variant
from sandbox.tasks.common.job import Progress


@dataclass(frozen=True)
class RunStarted:
    """A process begins to work on the run: the first one, or one that resumes it."""

    config: Mapping[str, object]
    isolation: str
    """Level of the sandbox: full, contained, reduced or none."""
    layers: tuple[str, ...]
    """Mechanisms that isolate the sandbox on this machine."""
    devices: tuple[str, ...] = ()
    """One for each slot, such as `cpu` or `cuda:0`."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Digests and versions, by name, of what influences results beside the configuration: code, prompts, seed, libraries."""
    accepted: tuple[str, ...] = ()
    """What has changed since the process before this one and was accepted by the user."""
    until_restarted: bool = False
    """`limits.until` means the next such time after this start, not after the run's first start."""
    confirms: bool = False
    """The process only confirms: the search stands as it ended before."""


@dataclass(frozen=True)
class Proposed:
    """The search has decided on a candidate. Nothing is spent on it yet."""

    candidate: Candidate


@dataclass(frozen=True)
class Asked:
    """A prompt is about to be sent. Recorded before the call, so that a resume knows of calls that were interrupted."""

    id: str
    """Of the candidate, or of a question about the search itself."""
    call: int
    """Number of the call for this id, from 0; repairs count as well."""
    model: str
    messages: tuple[Message, ...]
    temperature: float | None
    max_tokens: int | None


@dataclass(frozen=True)
class Answered:
    """A model has answered. Recorded before the answer is used, so that no answer is paid for twice."""

    id: str
    call: int
    completion: Completion


@dataclass(frozen=True)
class Rejected:
    """An answer broke the contract. It is sent back to the model, or the candidate ends as a failure."""

    id: str
    call: int
    stage: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Bred:
    """A candidate has a program that parses and keeps the contract."""

    variant: Variant


@dataclass(frozen=True)
class Repaired:
    """A variant failed its smoke stage, was sent back to the model, and the model has answered with this program."""

    variant: Variant
    reason: str
    """Why the former program failed."""


@dataclass(frozen=True)
class Settled:
    """A candidate's end: trained, failed, or a duplicate of another one. Also the seed's own training."""

    outcome: Outcome
    seconds: float | None = None
    """Wall time of its evaluation, also of a failed one; None if it was not evaluated."""
    gpus: float = 0.0
    """GPUs that the evaluation held for those seconds; a fraction where slots share one."""


@dataclass(frozen=True)
class SeedRepeated:
    """The seed was trained once more, with another training seed, to measure the noise floor."""

    training_seed: int
    fitness: Fitness | None
    """None: this training failed."""
    reason: str
    """Why it failed; else empty."""
    seconds: float
    """Wall time."""
    gpus: float = 0.0
    """As in `Settled`."""

    @staticmethod
    def id_of(training_seed: int) -> str:
        """The id by which the budget knows this training while it runs: several may run at once."""
        return f"{SEED_ID}/{training_seed}"


@dataclass(frozen=True)
class Learned:
    """A lesson was drawn from a settled candidate."""

    lesson: Lesson


@dataclass(frozen=True)
class Generalised:
    """A model rewrote proven insights as one that is shorter and more general."""

    id: str
    sources: tuple[str, ...]
    """Ids of the lessons that the text stands for from now on."""
    text: str
    """Empty: the answer could not be used."""


@dataclass(frozen=True)
class DirectiveWritten:
    """A model rewrote a directive. The new one competes with the others from now on, in this run only."""

    name: str
    text: str
    """Empty: the answer could not be used."""
    origin: str
    """Name of the directive it was made from."""


@dataclass(frozen=True)
class PlateauLevelChanged:
    """The search became bolder because it made no progress, or went back to normal because it did."""

    number: int
    """Counts these changes, from 1."""
    level: int
    """0 is normal; see `agent.search.plateau` for the others."""
    reason: str


@dataclass(frozen=True)
class SteeringChanged:
    """The user changed `guidance.md` or `frozen.txt` while the run works."""

    what: str
    """`guidance` or `frozen`."""
    text: str
    """The guidance, the names of frozen blocks, or what is wrong with the file."""


@dataclass(frozen=True)
class GenerationEnded:
    """A generation of the generational schedule is complete. Ids of its members."""

    number: int
    population: tuple[str, ...]
    elites: tuple[str, ...]
    front: tuple[str, ...]
    hypervolume: float


@dataclass(frozen=True)
class Committed:
    """An individual or failure is in git."""

    id: str
    branch: str
    """Of a failure: the full name of its reference outside the branches."""
    commit: str
    """Its hash."""


@dataclass(frozen=True)
class SearchEnded:
    """The search is over, and a confirmation follows in the same process."""

    state: str
    """As in `RunEnded`."""
    reason: str


@dataclass(frozen=True)
class ShortlistFrozen:
    """A confirmation has decided what it trains, before anything of it is measured."""

    number: int
    """Counts the confirmations of a run, from 1."""
    members: Mapping[str, Mapping[str, float] | None]
    """Id of each program -> the fitness that the search measured; None for a null copy. The seed is one of them."""
    nulls: Mapping[str, Mapping[str, str]]
    """Id of each null copy -> its files: relative path -> text."""
    plan: tuple[tuple[str, int], ...]
    """Every training as (id of the program, training seed), in the order in which they begin."""
    margin: float
    """In sigmas: how much worse still counts as no worse."""
    has_test_split: bool
    """Is it judged on the sealed test split? Else on the validation split."""
    test_note: str
    """Where that split comes from, or why there is none."""
    forced: bool = False
    """The run had been confirmed before, and the user wanted it again."""
    left_out: int = 0
    """Members of the front that are not confirmed."""


@dataclass(frozen=True)
class SealOpened:
    """A confirmation is about to read test labels. Recorded before the first one is read, and counted whatever happens next."""

    number: int
    """Of the confirmation."""


@dataclass(frozen=True)
class Retrained:
    """A confirmation has trained one of its programs with one of its fresh training seeds."""

    number: int
    """Of the confirmation."""
    id: str
    """Of the program."""
    training_seed: int
    values: Mapping[str, float] | None
    """By objective, on the validation split; None: this training failed."""
    test_values: Mapping[str, float] | None
    """The same on the test split; None where there is none, and for a failure."""
    reason: str
    """Stage and reason of a failure; else empty."""
    seconds: float
    """Wall time."""
    gpus: float = 0.0
    """As in `Settled`."""

    @staticmethod
    def id_of(id: str, training_seed: int) -> str:
        """The id by which the budget and the live view know this training while it runs."""
        return f"{id}/{training_seed}"


@dataclass(frozen=True)
class VerdictsReached:
    """Every training of a confirmation was made, and this is concluded from them."""

    number: int
    """Of the confirmation."""
    judgement: Judgement


@dataclass(frozen=True)
class RunEnded:
    """A process has ended its work on the run. A crash leaves no such event."""

    state: str
    """`finished`, `stopped` or `failed`."""
    reason: str


Event = (
    RunStarted
    | Proposed
    | Asked
    | Answered
    | Rejected
    | Bred
    | Repaired
    | Settled
    | SeedRepeated
    | Learned
    | Generalised
    | DirectiveWritten
    | PlateauLevelChanged
    | SteeringChanged
    | GenerationEnded
    | Committed
    | CoolDownStarted
    | CoolDownEnded
    | SearchEnded
    | ShortlistFrozen
    | SealOpened
    | Retrained
    | VerdictsReached
    | RunEnded
)
"""What the journal records."""


@dataclass(frozen=True)
class StopRequested:
    """Somebody asked the run to stop; it finishes what is under way first. The journal records only the `RunEnded` after it."""

    reason: str


@dataclass(frozen=True)
class ForecastUpdated:
    """How far the run will get, as computed now. Not in the journal, from which it can be computed at any time."""

    text: str
    announce: bool
    """Print it as a line of its own, not only in the live view."""


@dataclass(frozen=True)
class CallsRepeated:
    """These many model calls were unanswered when an earlier process died; they are made again, and may be billed again."""

    calls: int


@dataclass(frozen=True)
class Restored:
    """An earlier process of this run settled this candidate; the journal has it already."""

    outcome: Individual | Failure


@dataclass(frozen=True)
class ProgressReported:
    """A training reports its progress, for the live view alone."""

    id: str
    progress: Progress


Notice = StopRequested | ForecastUpdated | CallsRepeated | Restored | ProgressReported
"""What is shown to whoever watches the run and never recorded."""

Record = Callable[[Event], None]
"""Called from several threads; returns when the event is safe on disk."""

Watch = Callable[[Event | Notice], None]
"""Gets each event after it was recorded, and each notice; for the live view."""
