"""Mutation: rewrite one block as a directive asks, in a role or without one."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome, bare_name
from agent.llm import Message
from agent.operators.context import Context
from agent.operators.operator import DrawContext
from agent.operators.prompt_parts import conversation, length, rules_for_block, surroundings
from agent.operators.situation import opening, scale, situation
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class Mutate:
    name: str = "mutate"
    noun: str = "mutation"
    share: float = 0.0

    def draw(self, context: DrawContext) -> Recipe:
        """A recipe with a random block that is worth rewriting, a random directive, and a random role or none."""
        rng, prompts, counts = context.rng, context.prompts, context.block_counts
        blocks = context.evolvable_blocks
        least = min(counts.get(name, 0) for name in blocks)
        return Recipe(
            operator=self.name,
            parents=(context.parent.id,),
            blocks=(rng.choice([name for name in blocks if counts.get(name, 0) == least]),),
            directive=rng.choice(sorted(prompts.directives)),
            role=rng.choice([None, *sorted(prompts.roles)]),
            **context.sampling.draw(rng),
        )

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        (target,) = recipe.blocks
        if recipe.directive is None:
            raise ValueError("a mutation needs a directive")
        text = prompts.parts["mutate"].fill(
            opening=opening(prompts, context, rules_for_block(prompts, recipe, base)),
            situation=situation(prompts, base, context, context.individuals[recipe.parents[0]], blocks=recipe.blocks),
            surroundings=surroundings(prompts, base, target, {target: "the block to rewrite, see below"}),
            block=bare_name(target),
            source=fence(base.block(target).source, "python"),
            directive_name=recipe.directive.replace("_", " "),
            directive=context.directive(prompts, recipe.directive),
            scale=scale(prompts, context),
            length=length(prompts, recipe),
        )
        return conversation(prompts, recipe.role, text)
