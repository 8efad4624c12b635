"""Mating: join two parents' versions of the same block into one."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Block, Genome
from agent.llm import Message
from agent.operators.compare import borrowed, differing, plain
from agent.operators.context import Context
from agent.operators.conversation import conversation, rules
from agent.operators.situation import measured, names, situation
from agent.operators.surroundings import surroundings
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class Mate:
    prompts: Prompts
    name: str = "mate"
    n_parents: int = 2

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        (target,) = recipe.blocks
        a, b = (context.individuals[parent] for parent in recipe.parents)
        version_b = b.genome.block(target)
        needs_b = borrowed(version_b, b.genome, base)
        return conversation(
            self.prompts,
            recipe.role,
            self.prompts.parts["mate"].fill(
                situation=situation(self.prompts, base, context, a, {"Partner": b}),
                surroundings=surroundings(self.prompts, base, target, {target: "see version A below"}),
                block=plain(target),
                parent_a=a.id,
                fitness_a=measured(a, context),
                origin_a=_origin(base.block(target), context),
                source_a=fence(base.block(target).source, "python"),
                parent_b=b.id,
                fitness_b=measured(b, context),
                origin_b=_origin(version_b, context),
                source_b=fence(version_b.source, "python"),
                needs_b=fence(needs_b, "python") if needs_b else "",
                elsewhere=names(name for name in differing(a.genome, b.genome) if name != target),
                rules=rules(self.prompts, recipe, base),
            ),
        )


def _origin(version: Block, context: Context) -> str:
    """Which side changed the block is worth knowing where only one did."""
    seeds = next((block for block in context.seed.genome.blocks if block.name == version.name), None)
    return "It is as the seed has it." if seeds and seeds.source == version.source else ""
