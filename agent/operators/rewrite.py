"""Rewriting: change several blocks at once, as a directive asks or freely, for ideas that do not fit in one block."""

from __future__ import annotations

from dataclasses import dataclass

from agent.genome import Genome
from agent.llm import Message
from agent.operators.context import Context
from agent.operators.front import describe_aim
from agent.operators.operator import DrawContext
from agent.operators.prompt_parts import conversation, length, rules_for_program, whole_program
from agent.operators.situation import opening, scale, situation
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe

FREE_SHARE = 0.75
"""This share of the rewrites has no directive and no role."""
FREE_NAME = "free"
"""What the prompt calls the directive of a rewrite that has none."""
LEVERS = ("optimizer", "schedule", "dropout", "augmentation", "loss")
"""What suits an architecture besides its blocks. Dropout is never fixed."""


@dataclass(frozen=True)
class Rewrite:
    name: str = "rewrite"
    noun: str = "rewriting"
    share: float = 0.87

    def draw(self, context: DrawContext) -> Recipe:
        """A recipe without a directive, or with a random directive and a random role or none."""
        rng, prompts = context.rng, context.prompts
        free = rng.random() < FREE_SHARE
        return Recipe(
            operator=self.name,
            parents=(context.parent.id,),
            blocks=(),
            directive=None if free else rng.choice(sorted(prompts.directives)),
            role=None if free else rng.choice([None, *sorted(prompts.roles)]),
            **context.sampling.draw(rng),
        )

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        if recipe.blocks:
            raise ValueError("the recipe of a rewrite names no blocks")
        program, unused = whole_program(base)
        directive = recipe.directive
        text = prompts.parts["rewrite"].fill(
            opening=opening(prompts, context, rules_for_program(prompts, base)),
            situation=situation(prompts, base, context, context.individuals[recipe.parents[0]]),
            program=program,
            unused=unused,
            directive_name=directive.replace("_", " ") if directive else FREE_NAME,
            directive=context.directive(prompts, directive) if directive else _mandate(prompts, context),
            scope="blocks" if directive else "",
            aim="" if directive else describe_aim(context, recipe.seed, context.individuals[recipe.parents[0]]),
            scale="" if directive else scale(prompts, context),  # a directive says itself how much is asked for
            length=length(prompts, recipe),
        )
        return conversation(prompts, recipe.role, text)


def _mandate(prompts: Prompts, context: Context) -> str:
    """The task of a free rewrite, without what the facts call fixed."""
    fixed = " ".join(fact.partition("Fixed:")[2] for fact in context.brief.facts.values())
    free = [lever for lever in LEVERS if lever not in fixed]
    return prompts.parts["mandate"].fill(levers=f"{', '.join(free[:-1])} and {free[-1]}")
