"""One frozen type for each kind of event in a run. The journal records events, and a resume reads them back.

`codec` defines their names in a journal file, which must never change; the names in this module may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.core.verdicts import Verdicts
from agent.core.worth import WorthScale
from agent.llm import Completion, CoolDownEnded, CoolDownStarted, Message
from agent.memory import Lesson
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Outcome, Variant
from sandbox.tasks.common.job import Progress

CHECK_ID = "check"
"""The id under which the question is recorded that each model answers before the seed is trained."""


@dataclass(frozen=True)
class RunStarted:
    """A process starts to work on the run: the first process, or one that resumes it."""

    config: Mapping[str, object]
    isolation: str
    """Level of the sandbox: full, contained, reduced or none."""
    layers: tuple[str, ...]
    """Mechanisms that isolate the sandbox on this machine."""
    devices: tuple[str, ...] = ()
    """One for each slot, such as `cpu` or `cuda:0`."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Digests and versions, by name, of what influences results besides the configuration: code, prompts, seed, libraries."""
    accepted: tuple[str, ...] = ()
    """What has changed since the previous process, and the user has accepted; one line each."""
    until_restarted: bool = False
    """`limits.until` means the next such time after this start, not after the run's first start."""
    confirms: bool = False
    """The process only confirms: the search stands as it ended before."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Processor, GPUs, driver, by name. A resume does not compare it; a reproduction names what differs."""


@dataclass(frozen=True)
class Proposed:
    """The search has decided on a candidate. Nothing is spent on it yet."""

    candidate: Candidate


@dataclass(frozen=True)
class Asked:
    """A prompt is about to be sent. Recorded before the call, so that a resume knows of calls that were interrupted."""

    id: str
    """The id of the candidate, or of a question about the search itself."""
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
class ModelsChecked:
    """Every model was asked one short question, if it had not answered in this run before."""

    faults: Mapping[str, str]
    """By model: why it does not answer; empty if it does. No entry for a model that was not asked."""


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
    number: int = 1
    """How many of its programs were sent back by then."""


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
    """None: this training failed. Only earlier versions of this program recorded that here."""
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
class SeedFailed:
    """A training of the seed failed, its first one or one for the noise floor. A resume trains it again."""

    training_seed: int
    stage: str
    reason: str
    seconds: float
    """Wall time."""
    gpus: float = 0.0
    """As in `Settled`."""


@dataclass(frozen=True)
class EliteRetrained:
    """The search has trained an elite again, with another training seed: one more reading, of which its fitness is the mean."""

    id: str
    """Of the elite."""
    training_seed: int
    fitness: Fitness | None
    """None: this training failed, and the elite leads no more."""
    reason: str
    """Why it failed, or why its mean may not lead; else empty."""
    seconds: float
    """Wall time."""
    gpus: float = 0.0
    """As in `Settled`."""

    @staticmethod
    def id_of(id: str, training_seed: int) -> str:
        """The id by which the budget and the live view know this training while it runs."""
        return f"{id}/{training_seed}"


@dataclass(frozen=True)
class Learned:
    """A settled candidate gave a lesson."""

    lesson: Lesson


@dataclass(frozen=True)
class Generalised:
    """A model rewrote proven insights as one that is shorter and more general."""

    id: str
    sources: tuple[str, ...]
    """Ids of the lessons that the text replaces."""
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
    """The user changed `guidance.md` or `frozen.txt` during the run."""

    what: str
    """`guidance` or `frozen`."""
    text: str
    """The guidance, the names of frozen blocks, or what is wrong with the file."""


@dataclass(frozen=True)
class NoiseMeasured:
    """The units of the run are known: how far trainings of the seed lie apart, and by which scale progress is measured.

    Recorded once, before the search begins, so that values stay comparable although sigma gets better known later.
    """

    noise: Noise | None
    """None if it was not to be measured."""
    scale: WorthScale


@dataclass(frozen=True)
class SearchSized:
    """The settings of the search that the configuration left to the run are fixed, by what it may spend."""

    first_population: int
    first_operator: str
    operators: Mapping[str, float] = field(hash=False)
    """Their shares; empty: the paper's three rates."""


@dataclass(frozen=True)
class GenerationEnded:
    """A generation is complete. The fields list ids of its members."""

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
    """Name of the branch; for a failure the full name of its reference, which is not a branch."""
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
    verdicts: Verdicts


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
    | ModelsChecked
    | Rejected
    | Bred
    | Repaired
    | Settled
    | SeedRepeated
    | SeedFailed
    | NoiseMeasured
    | SearchSized
    | EliteRetrained
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
    """The user asked the run to stop; it finishes work under way first. The journal records only the `RunEnded` that follows."""

    reason: str


@dataclass(frozen=True)
class Advised:
    """A setting that the user may not have meant, said before anything is spent on it."""

    text: str
    """One sentence."""


@dataclass(frozen=True)
class Told:
    """What the user should know at the start, such as how many images there are."""

    text: str


@dataclass(frozen=True)
class ForecastUpdated:
    """A new forecast of how far the run will get. Not recorded, because it can be computed from the journal."""

    text: str
    announce: bool
    """Print it as a line of its own, not only in the live view."""


@dataclass(frozen=True)
class CallsRepeated:
    """Model calls that were unanswered when an earlier process died are made again, and may be billed again."""

    calls: int


@dataclass(frozen=True)
class Restored:
    """An earlier process of this run settled this candidate; the journal has it already."""

    outcome: Individual | Failure


@dataclass(frozen=True)
class ModelsChecking:
    """These models are being asked whether they answer."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class ModelChecked:
    """A model has answered the check."""

    model: str
    seconds: float


@dataclass(frozen=True)
class SeedTraining:
    """The seed is being trained, before the search begins. The journal records each of its trainings when it has ended."""

    made: int
    """Trainings that have ended, those of earlier processes too: the seed's own one, then those for the noise floor."""
    planned: int
    """Of both kinds together."""


@dataclass(frozen=True)
class ProgressReported:
    """A training reports its progress, for the live view alone."""

    id: str
    progress: Progress


Notice = (
    Advised
    | Told
    | StopRequested
    | ForecastUpdated
    | CallsRepeated
    | Restored
    | ModelsChecking
    | ModelChecked
    | SeedTraining
    | ProgressReported
)
"""What the live view shows and the journal never records."""

Record = Callable[[Event], None]
"""Records an event and returns when it is safe on disk. Called from several threads."""

Watch = Callable[[Event | Notice], None]
"""Shows each event after it was recorded, and each notice, in the live view."""
