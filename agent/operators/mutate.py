"""Mutation: rewrite one block as a directive asks, in a role or without one."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome
from agent.llm import Message
from agent.operators.compare import plain
from agent.operators.context import Context
from agent.operators.conversation import conversation, rules
from agent.operators.situation import situation
from agent.operators.surroundings import surroundings
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class Mutate:
    prompts: Prompts
    name: str = "mutate"
    n_parents: int = 1

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        (target,) = recipe.blocks
        if recipe.directive is None:
            raise ValueError("a mutation needs a directive")
        return conversation(
            self.prompts,
            recipe.role,
            self.prompts.parts["mutate"].fill(
                situation=situation(self.prompts, base, context, context.individuals[recipe.parents[0]]),
                surroundings=surroundings(self.prompts, base, target, {target: "the block to rewrite, see below"}),
                block=plain(target),
                source=fence(base.block(target).source, "python"),
                directive_name=recipe.directive.replace("_", " "),
                directive=context.written.get(recipe.directive) or self.prompts.directives[recipe.directive],
                rules=rules(self.prompts, recipe, base),
            ),
        )
