"""The protocols of operators, and the data from which they draw a recipe."""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agent.genome import Block, Genome, bare_name, parse
from agent.llm import Message
from agent.operators.changes import Measured
from agent.operators.context import Context
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe


@dataclass(frozen=True)
class Sampling:
    """The models and the ranges of their sampling parameters. Values are drawn uniformly, both ends included."""

    models: tuple[str, ...]
    temperature: tuple[float, float] | None = None
    """None: not sent, the provider uses its default."""
    max_tokens: tuple[int, int] | None = None
    """None: not sent, the model uses its default."""

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
    """Everything from which an operator draws a recipe."""

    rng: random.Random
    """The only source of randomness."""
    prompts: Prompts
    sampling: Sampling
    seed: Individual
    parent: Individual
    partner: Individual | None = None
    """The second parent, which may be the same as the first; None: there is none."""
    elites: Sequence[Individual] = ()
    """Individuals whose changes may be shown as an example."""
    block_counts: Mapping[str, int] = field(default_factory=dict)
    """How often each block was drawn so far, if all blocks should get a turn: one that was drawn least often is drawn next."""
    single_block: bool = False
    """Whether an operator that could also rewrite the whole program must rewrite one block, as in the paper."""
    measured: Measured | None = None
    """Everything that was measured; None where no candidate may learn from others than its parents and elites."""
    together: Sequence[Recipe] = ()
    """The recipes drawn so far that put changes of several individuals together."""

    any_block: bool = False
    """Whether one-line functions without parameters count as worth rewriting, as in the paper."""

    @property
    def evolvable_blocks(self) -> list[str]:
        """The parent's blocks that are worth rewriting; where rules alone answer, those that some rule fits, if there are any."""
        blocks = evolvable_blocks(self.parent, self.seed, self.any_block)
        if self.any_block or {*self.sampling.models} != {"offline"}:
            return blocks
        from agent.genome.rewrites import fits

        return [name for name in blocks if fits(self.parent.genome.block(name).source)] or blocks


class Operator(Protocol):
    """Makes a candidate from parents. Has no state and does no I/O; only `draw` is random, by the generator it is given."""

    @property
    def name(self) -> str:
        """Its name in recipes, in the configuration and in the journal."""
        ...

    @property
    def noun(self) -> str:
        """What prompts call its work, such as `mutation`."""
        ...

    @property
    def share(self) -> float:
        """Its default share of the candidates with a model that reads, relative to those of the others, before any result is
        known; 0: it makes none unless `search.operators` names it."""
        ...

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe for one candidate; None if the operator finds nothing to work on in these parents and elites."""
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


def evolvable_blocks(individual: Individual, seed: Individual, any_block: bool = False) -> list[str]:
    """Names of the live blocks, without the helper functions that earlier answers brought along.

    A helper of three lines that shuffles channels has nothing to evolve; classes, the seed's own blocks and the functions
    that the framework calls have. Functions of one statement are not worth an answer either, unless `any_block`. Returns all
    live blocks if none of these is live.
    """
    own = {block.name for block in seed.genome.all_blocks}
    live = individual.genome.live_blocks
    worth = []
    for block in live:
        called = bare_name(block.name) in seed.genome.entry_points
        if block.kind == "class" or called or (block.name in own and (any_block or not _is_one_statement(block))):
            worth.append(block.name)
    worth = [name for name in worth if not _only_registered(name, individual, seed)] or worth
    groups = [group.name for group in individual.genome.constant_groups]
    if any_block and live:
        return worth or [block.name for block in live]
    return [*worth, *groups] or [block.name for block in live]


def _only_registered(name: str, individual: Individual, seed: Individual) -> bool:
    """Whether nothing but its decorator keeps a block alive, or what such a block uses, and no run of the seed has used it."""
    used = {*seed.evidence.calls_by_block, *seed.evidence.parameters_by_block}
    called = individual.genome.called_names
    return bool(used and called) and bare_name(name) not in used | called


def _is_one_statement(block: Block) -> bool:
    """Whether a function does nothing but return an expression, docstring aside."""
    (function,) = parse(block.source).body[-1:]
    body = list(getattr(function, "body", ()))
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return len(body) == 1 and isinstance(body[0], ast.Return)
