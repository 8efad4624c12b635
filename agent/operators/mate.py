"""Mating: join two parents' versions of the same block into one."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Block, Genome, bare_name
from agent.llm import Message
from agent.operators.compare import differing_blocks, missing_definitions
from agent.operators.context import Context
from agent.operators.known import only_restores
from agent.operators.measurements import describe_fitness
from agent.operators.operator import DrawContext, evolvable_blocks
from agent.operators.prompt_parts import code_names, conversation, fenced_code, rules_for_block, surroundings
from agent.operators.situation import situation
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class Mate:
    name: str = "mate"
    noun: str = "mating"
    share: float = 0.0

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe for a block in which the two parents differ and that is worth rewriting in both; None without one."""
        a, b = context.parent, context.partner
        if b is None:
            return None
        worth = {*context.evolvable_blocks} & {*evolvable_blocks(b, context.seed, context.any_block)}
        blocks = [name for name in differing_blocks(a.genome, b.genome) if name in worth]
        if not context.any_block:
            blocks = [name for name in blocks if not only_restores(a, b, [name], context.measured)]
        if not blocks:
            return None
        block = context.rng.choice(blocks)
        return Recipe(operator=self.name, parents=(a.id, b.id), blocks=(block,), **context.sampling.draw(context.rng))

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        (target,) = recipe.blocks
        a, b = (context.individuals[parent] for parent in recipe.parents)
        version_a, version_b = base.block(target), b.genome.block(target)
        text = prompts.parts["mate"].fill(
            situation=situation(prompts, base, context, a, {"Partner": b}),
            surroundings=surroundings(prompts, base, target, {target: "see version A below"}),
            block=bare_name(target),
            parent_a=a.id,
            fitness_a=describe_fitness(a, context),
            origin_a=_origin(version_a, context),
            source_a=fence(version_a.source, "python"),
            parent_b=b.id,
            fitness_b=describe_fitness(b, context),
            origin_b=_origin(version_b, context),
            source_b=fence(version_b.source, "python"),
            needs_b=fenced_code(missing_definitions(version_b, b.genome, base)),
            elsewhere=code_names(name for name in differing_blocks(a.genome, b.genome) if name != target),
            rules=rules_for_block(prompts, recipe, base),
        )
        return conversation(prompts, recipe.role, text)


def _origin(version: Block, context: Context) -> str:
    """A sentence if the version is the seed's, so that the reader knows which of the two parents changed the block."""
    original = next((block for block in context.seed.genome.blocks if block.name == version.name), None)
    return "It is as the seed has it." if original and original.source == version.source else ""
