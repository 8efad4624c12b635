"""The stages of a candidate, each its own frozen type: Candidate -> Variant | Failure -> Individual | Failure | Duplicate.

Each later stage carries its `Candidate`, which says where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from agent.core.objectives import Fitness
from agent.genome import CONSTANTS, Genome, bare_name
from agent.llm import Message

SEED_ID = "seed"

Stage = Literal["answer", "contract", "smoke", "fit", "predict", "integrity", "score"]
"""Where a candidate failed: `answer` and `contract` before any of its code ran, the others inside or after the sandbox."""

INVALID_STAGES: frozenset[str] = frozenset({"answer", "contract"})

DEFAULT_TEMPERATURE = 1.0
"""What most providers use where a request names no temperature."""
HOTTEST = 1.6
"""No temperature is raised beyond this."""


@dataclass(frozen=True)
class Recipe:
    """How one operator makes a candidate: all choices, before a model is asked."""

    operator: str
    parents: tuple[str, ...]
    """Ids of the individuals whose blocks go into the candidate; the first one's genome is the base that is edited."""
    blocks: tuple[str, ...]
    """Names of the blocks to rewrite: one block for the paper's operators. Empty: any block, the prompt shows the whole program.

    A splice takes these blocks from the second parent.
    """
    model: str
    """Name of the model that is asked; empty for an operator that asks none."""
    seed: int
    """For models that take a seed, and for the offline model's choices."""
    role: str | None = None
    directive: str | None = None
    elite: str | None = None
    """Evolution of Thought: the id of the elite whose change is shown. The candidate takes an idea from it, but no blocks."""
    example: str | None = None
    """Evolution of Thought: the name of the elite's block that is shown next to the seed's."""
    temperature: float | None = None
    """None: the provider's default."""
    max_tokens: int | None = None
    sources: tuple[str, ...] = ()
    """Putting changes together: the ids of the individuals whose changes these are. Of each of `blocks` the one that gives it, if
    blocks are named."""

    def hotter(self, factor: float) -> Recipe:
        """The same recipe with its temperature multiplied by `factor` (at least 1), but raised to `HOTTEST` at most."""
        temperature = DEFAULT_TEMPERATURE if self.temperature is None else self.temperature
        return replace(self, temperature=round(max(temperature, min(HOTTEST, factor * temperature)), 3))


@dataclass(frozen=True)
class Candidate:
    """A program that the search tries: its id, and the recipes that it is made by.

    A candidate that is mated and then mutated has two recipes, applied in order.
    """

    id: str
    generation: int
    recipes: tuple[Recipe, ...] = ()
    lessons: tuple[str, ...] = ()
    """Ids of the lessons that its prompts show."""

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for r in self.recipes for p in r.parents))

    @property
    def operator(self) -> str:
        return "+".join(r.operator for r in self.recipes) or "seed"

    @property
    def blocks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(b for r in self.recipes for b in r.blocks))

    def about(self, changed: Sequence[str] = ()) -> tuple[str, ...]:
        """The blocks that its recipes name, and the `changed` ones if some recipe left the choice to the model.

        A recipe for all constants leaves it to the model which of them change.
        """
        groups = {name for name in self.blocks if bare_name(name) == CONSTANTS}
        free = bool(groups) or any(not recipe.blocks for recipe in self.recipes)
        named = [name for name in self.blocks if not (changed and name in groups)]
        return tuple(dict.fromkeys([*named, *(changed if free else ())]))

    @property
    def role(self) -> str | None:
        return next((r.role for r in reversed(self.recipes) if r.role), None)

    @property
    def directive(self) -> str | None:
        return next((r.directive for r in reversed(self.recipes) if r.directive), None)


@dataclass(frozen=True)
class Evidence:
    """What one evaluation measured besides the fitness: for prompts and reports, never for selection."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage, without waiting."""
    peak_memory: int = 0
    """Bytes, the largest of the stages."""
    curve: tuple[tuple[float, ...], ...] = ()
    """One row for each epoch, as the training itself reported it: (training loss, training accuracy)."""
    parameters_by_block: Mapping[str, int] = field(default_factory=dict)
    """Parameters that instances of each block hold directly or through plain layers; reported by the candidate itself."""
    calls_by_block: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    """The first calls of each block for one example, in order: the size returned, such as 12x16x16, and the parameters of the
    instance that is called (0: none, or counted at an earlier call); reported by the candidate itself."""
    mistakes: tuple[tuple[str, int], ...] = ()
    """The commonest mistakes on the validation split, such as (`Shirt as Coat`, images); (`all`, wrong images) at the end."""
    isolation: str = "none"
    layers: tuple[str, ...] = ()
    device: str = "cpu"
    """Where it was trained: `cpu`, or `cuda:N`."""
    waited: float = 0.0
    """Seconds that it was ready and waited for a slot, or for one of the places outside the slots (see `sandbox.pool.lanes`)."""
    load: float | None = None
    """The machine's load average over a minute when a time that is an objective began to be measured; None if none is."""
    printed: tuple[str, ...] = ()
    """Some lines of what a script printed, its last one at the end; hostile text."""
    parameters_by_part: Mapping[str, int] = field(default_factory=dict)
    """Of the largest parts of the model, the largest first, by their names in its state: `stem`, `stages.0`."""

    @property
    def total(self) -> float:
        """Seconds from the moment it had a program until it was measured."""
        return sum(self.seconds.values()) + self.waited


@dataclass(frozen=True)
class Conversation:
    """The conversation with a model that a variant came from. It is continued if the variant has to be repaired."""

    recipe: Recipe
    base: Genome
    """The genome that the answer is edited into."""
    messages: tuple[Message, ...]
    """As they were last sent."""
    answer: str = ""
    """The model's answer to them; hostile text."""
    calls: int = 0
    """Model calls for the candidate so far."""
    repaired: int = 0
    """How often a variant was sent back to the model because it failed its smoke stage."""


class _OfCandidate:
    """Gives the later stages of a candidate its id."""

    candidate: Candidate

    @property
    def id(self) -> str:
        return self.candidate.id


@dataclass(frozen=True)
class Variant(_OfCandidate):
    """A candidate with a program that parsed and kept its contract, not yet trained."""

    candidate: Candidate
    genome: Genome
    intention: str = ""
    """What the change is meant to do, in the words of the model that made it: one line, hostile text."""
    conversation: Conversation | None = field(default=None, compare=False, repr=False)
    changed: tuple[str, ...] = ()
    """The blocks that behave differently from its first parent's, or are new."""
    expected: str = ""
    """The effect that its model expects of the last change: one line, hostile text."""


@dataclass(frozen=True)
class Individual(_OfCandidate):
    """A trained variant with its fitness. Populations, archive and elites hold nothing else."""

    candidate: Candidate
    genome: Genome
    fitness: Fitness
    evidence: Evidence = field(default_factory=Evidence)
    intention: str = ""
    """What the change is meant to do, in the words of the model that made it: one line, hostile text."""
    changed: tuple[str, ...] = ()
    """The blocks that behave differently from its first parent's, or are new."""
    readings: tuple[Fitness, ...] = ()
    """Each training's fitness if it was trained more than once; `fitness` is their mean then."""
    fault: str = ""
    """Why it may not lead: it failed with another training seed, or its mean breaks a constraint. It keeps its fitness, but is no
    parent, no elite and not on the front."""

    @property
    def trainings(self) -> int:
        """How many trainings `fitness` is the mean of; those that failed have no value to count in it."""
        return max(1, len(self.readings))

    def with_reading(self, reading: Fitness | None, fault: str = "") -> Individual:
        """After one more training. `reading`: None if that failed; `fault`: then, or if the mean may not lead."""
        if reading is None:
            return replace(self, fault=fault)
        readings = (*(self.readings or (self.fitness,)), reading)
        return replace(self, fitness=Fitness.mean(readings), readings=readings, fault=fault)


@dataclass(frozen=True)
class Failure(_OfCandidate):
    """A candidate that failed: the stage where it stopped, and why. A failure is never expressed as a fitness."""

    candidate: Candidate
    stage: Stage
    reason: str
    """One or a few sentences, fit for a prompt: cleaned, short."""
    log: str = ""
    """The last output of the candidate, cleaned of control characters; hostile text all the same."""
    genome: Genome | None = None
    """Known if the candidate parsed."""
    intention: str = ""
    """What the change is meant to do, in the words of the model that made it: one line, hostile text."""
    changed: tuple[str, ...] = ()
    """The blocks that behave differently from its first parent's, or are new."""


@dataclass(frozen=True)
class Duplicate(_OfCandidate):
    """A variant whose genome is known already: it is not trained again."""

    candidate: Candidate
    twin: str
    """The id of the candidate that had the genome first."""


Outcome = Individual | Failure | Duplicate
