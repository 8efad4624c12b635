"""What an operator is, and what it may look at when it draws a recipe."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agent.genome import Genome
from agent.llm import Message
from agent.operators.compare import bare_name
from agent.operators.context import Context
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe


@dataclass(frozen=True)
class Sampling:
    """How LLMs are asked. A value is drawn uniformly from its range, both ends included."""

    models: tuple[str, ...]
    temperature: tuple[float, float] | None = None
    """None: not sent, so that the provider's default holds."""
    max_tokens: tuple[int, int] | None = None
    """None: the model's own default."""

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """The part of a recipe that every operator with a model needs: `model`, `seed`, `temperature`, `max_tokens`."""
        return {
            "model": rng.choice(self.models),
            "seed": rng.randrange(2**31),
            "temperature": round(rng.uniform(*self.temperature), 3) if self.temperature else None,
            "max_tokens": rng.randint(*self.max_tokens) if self.max_tokens else None,
        }


@dataclass(frozen=True)
class DrawContext:
    """All that an operator may look at when it draws a recipe."""

    rng: random.Random
    """The only source of chance."""
    prompts: Prompts
    sampling: Sampling
    seed: Individual
    parent: Individual
    partner: Individual | None = None
    """A second parent; None: there is none. It may be the same as the first."""
    elites: Sequence[Individual] = ()
    """Individuals whose changes may be shown as an example."""
    block_counts: Mapping[str, int] = field(default_factory=dict)
    """How often each block was drawn so far, if all blocks are to have their turn: one of the least drawn is drawn."""
    single_block: bool = False
    """Whether an operator that could also rewrite the whole program must rewrite one block, as in the paper."""

    @property
    def evolvable_blocks(self) -> list[str]:
        """The parent's blocks that are worth rewriting."""
        return evolvable_blocks(self.parent, self.seed)


class Operator(Protocol):
    """Makes a candidate from parents. Has no state and does no I/O; all chance lies in `draw`, from the generator passed in."""

    @property
    def name(self) -> str:
        """As recipes, the configuration and the journal call it."""
        ...

    @property
    def noun(self) -> str:
        """As prompts call what it does, such as `mutation`."""
        ...

    @property
    def share(self) -> float:
        """Its default share of the candidates, relative to those of the others, before any result is known."""
        ...

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe for one candidate. None if these parents and elites give the operator nothing to work on."""
        ...


@runtime_checkable
class PromptOperator(Operator, Protocol):
    """An operator that asks a model."""

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        """The messages to send. `base`: the genome that the answer will be edited into, the first parent's or what an
        earlier recipe of the same candidate made of it. Raises ValueError for a recipe that this operator did not draw."""
        ...


@runtime_checkable
class ModelFreeOperator(Operator, Protocol):
    """An operator that needs no model: it costs nothing, and its recipes name no model."""

    def intention(self, recipe: Recipe) -> str:
        """What the change is meant to do, in one line, since no model states it."""
        ...

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        """What a model would answer: the changed definitions in a code fence. `base`: as for `PromptOperator.prompt`."""
        ...


def evolvable_blocks(individual: Individual, seed: Individual) -> list[str]:
    """Names of the live blocks, without the helper functions that earlier answers brought along.

    Three lines that shuffle channels hold no values and no structure to evolve; classes, the seed's own blocks and the
    functions that the framework calls do. Falls back to all live blocks where none of these is live.
    """
    own = {block.name for block in seed.genome.all_blocks}
    live = individual.genome.live_blocks
    worth = [b.name for b in live if b.kind == "class" or b.name in own or bare_name(b.name) in seed.genome.entry_points]
    return worth or [block.name for block in live]
