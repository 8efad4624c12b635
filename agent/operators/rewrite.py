"""Rewriting: change several blocks at once, as a directive asks or freely, for what one block cannot hold."""

from __future__ import annotations

from dataclasses import dataclass

from agent.genome import Genome
from agent.llm import Message
from agent.operators.context import Context
from agent.operators.conversation import conversation, rules_whole
from agent.operators.situation import situation
from agent.operators.surroundings import program
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe

FREE = "free"
"""The directive's name in a prompt without one."""


@dataclass(frozen=True)
class Rewrite:
    prompts: Prompts
    name: str = "rewrite"
    n_parents: int = 1

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        if recipe.blocks:
            raise ValueError("a rewrite is of any blocks")
        text, unused = program(base)
        asked = recipe.directive
        known = {**self.prompts.directives, **context.written}
        return conversation(
            self.prompts,
            recipe.role,
            self.prompts.parts["rewrite"].fill(
                situation=situation(self.prompts, base, context, context.individuals[recipe.parents[0]]),
                program=text,
                unused=unused,
                directive_name=asked.replace("_", " ") if asked else FREE,
                directive=known[asked] if asked else self.prompts.parts["mandate"].fill(),
                scope="blocks" if asked else "",
                rules=rules_whole(self.prompts, recipe, base),
            ),
        )
