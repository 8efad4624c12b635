"""What happens in a run, one frozen type each. The journal is the list of them; a resume reads them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.fitness import Fitness
from agent.individual import SEED_ID, Birth, Failure, Individual, Outcome, Variant
from agent.llm import Completion, Message, ModelRests, ModelReturned
from agent.memory import Lesson
from sandbox.tasks.common.job import Progress


@dataclass(frozen=True)
class RunStarted:
    """By one process: the first of a run, or one that goes on with it."""

    config: Mapping[str, object]
    isolation: str
    layers: tuple[str, ...]
    devices: tuple[str, ...] = ()
    """That of each slot."""
    basis: Mapping[str, str] = field(default_factory=dict)
    """What results rest on beside the configuration, by name, as digests."""
    accepted: tuple[str, ...] = ()
    """What had changed since the process before, and was accepted by the user."""
    until_anew: bool = False
    """The time of `limits.until` is the next one after this start, not after the run's first."""


@dataclass(frozen=True)
class Drawn:
    """A child was decided on; nothing is spent yet."""

    birth: Birth


@dataclass(frozen=True)
class Asked:
    """A prompt is about to be sent: recorded before the call, so that an interrupted one is known."""

    id: str
    call: int
    """Counts the calls for one child, repairs included."""
    model: str
    messages: tuple[Message, ...]
    temperature: float | None
    max_tokens: int | None


@dataclass(frozen=True)
class Answered:
    """Recorded before the answer is used: it is never paid for twice."""

    id: str
    call: int
    completion: Completion


@dataclass(frozen=True)
class Rejected:
    """An answer broke the contract: it is sent back, or the child's end."""

    id: str
    call: int
    stage: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Bred:
    """A child parsed and kept its contract."""

    variant: Variant


@dataclass(frozen=True)
class Mended:
    """A variant that failed the smoke stage was sent back, and this one came."""

    variant: Variant
    reason: str
    """What the former one failed of."""


@dataclass(frozen=True)
class Settled:
    """A child's end: trained, failed or met before."""

    outcome: Outcome
    seconds: float | None = None
    """Wall time of its evaluation, also of a failed one; None if there was none."""
    gpus: float = 0.0
    """How many the evaluation held all that time; a share of one if it was shared."""


@dataclass(frozen=True)
class Repeated:
    """The seed was trained once more, with another training seed: for the noise floor."""

    training_seed: int
    fitness: Fitness | None
    """None: it failed this time."""
    reason: str
    seconds: float
    gpus: float = 0.0
    """As of `Settled`."""

    @staticmethod
    def id_of(training_seed: int) -> str:
        """By which budgets know this training while it runs: several of the seed's run at once."""
        return f"{SEED_ID}/{training_seed}"


@dataclass(frozen=True)
class Learned:
    """What a settled child teaches."""

    lesson: Lesson


@dataclass(frozen=True)
class Generalised:
    """An LLM rewrote insights that proved themselves as one that is shorter and more general."""

    id: str
    sources: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class DirectiveWritten:
    """An LLM rewrote a directive: it competes with the others from now on, in this run only."""

    name: str
    text: str
    origin: str
    """The directive that it was made of."""


@dataclass(frozen=True)
class Adapted:
    """The search changed its own ways, and why."""

    number: int
    level: int
    """How far beyond the usual: see `plateau`."""
    reason: str


@dataclass(frozen=True)
class Steered:
    """The user changed `guidance` or `frozen` while it runs."""

    what: str
    text: str


@dataclass(frozen=True)
class GenerationEnded:
    number: int
    population: tuple[str, ...]
    elites: tuple[str, ...]
    front: tuple[str, ...]
    hypervolume: float


@dataclass(frozen=True)
class Committed:
    id: str
    branch: str
    commit: str


@dataclass(frozen=True)
class RunEnded:
    state: str
    """`finished`, `stopped` or `failed`."""
    reason: str


Event = (
    RunStarted
    | Drawn
    | Asked
    | Answered
    | Rejected
    | Bred
    | Mended
    | Settled
    | Repeated
    | Learned
    | Generalised
    | DirectiveWritten
    | Adapted
    | Steered
    | GenerationEnded
    | Committed
    | ModelRests
    | ModelReturned
    | RunEnded
)



@dataclass(frozen=True)
class StopRequested:
    """No event of the journal, which records how a run ended: what is under way will be finished first."""

    reason: str


@dataclass(frozen=True)
class Foretold:
    """No event of the journal, from which it can be computed: how far the run will get."""

    words: str
    aloud: bool
    """To be told, not only shown to who looks."""


@dataclass(frozen=True)
class AskedAgain:
    """No event: so many calls were out when an earlier process died. What became of them, only the provider knows."""

    calls: int


@dataclass(frozen=True)
class Recalled:
    """No event of this process: what an earlier one of the run did."""

    outcome: Individual | Failure


@dataclass(frozen=True)
class Heard:
    """No event of the journal either: what a training says of itself on the way, for whoever watches."""

    id: str
    progress: Progress


Notice = StopRequested | Foretold | AskedAgain | Recalled | Heard

Record = Callable[[Event], None]
"""Called from several threads; returns when the event is safe on disk."""

Watch = Callable[[Event | Notice], None]
"""Sees each event after it is journaled, and what is not journaled; for the live view."""


@dataclass(frozen=True)
class Conversation:
    """What the journal knows of the talk with a model about one child."""

    messages: tuple[Message, ...]
    answer: str
    calls: int
    mended: int


@dataclass(frozen=True)
class Memo:
    """What an earlier process of the same run already did: pools look here first, so that a resume repeats nothing."""

    answers: Mapping[tuple[str, int], Completion] = field(default_factory=dict)
    variants: Mapping[str, Variant] = field(default_factory=dict)
    outcomes: Mapping[str, Individual | Failure] = field(default_factory=dict)
    births: Mapping[str, Birth] = field(default_factory=dict)
    commits: Mapping[str, str] = field(default_factory=dict)
    """Commit by id."""
    conversations: Mapping[str, Conversation] = field(default_factory=dict)
    """Of the variants that are not settled."""
    asked: Mapping[tuple[str, int], tuple[Message, ...]] = field(default_factory=dict)
    """What was sent in the calls of those that are not settled: a call that is made again says the same."""
    lessons: Mapping[str, Lesson] = field(default_factory=dict)
    """By the child's id."""
    repeats: Mapping[int, Repeated] = field(default_factory=dict)
    """By training seed."""
    history: tuple[Birth | Outcome | Generalised | DirectiveWritten, ...] = ()
    """What was drawn, settled, generalised and written, in that order: a birth stands for its being drawn."""
