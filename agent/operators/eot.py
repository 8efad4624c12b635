"""Evolution of Thought: learn why an elite's change measured well, then apply that insight to another block."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome, bare_name, changed_blocks, same_meaning
from agent.llm import Message
from agent.operators.compare import differing_blocks, missing_definitions
from agent.operators.context import Context
from agent.operators.operator import DrawContext
from agent.operators.others import new_code
from agent.operators.prompt_parts import (
    code_names,
    conversation,
    fenced_code,
    length,
    rules_for_block,
    rules_for_program,
    shortened_diff,
    surroundings,
    whole_program,
)
from agent.operators.situation import opening, scale, situation
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe

WHOLE_PROGRAM_SHARE, WHOLE_PROGRAM_SHARE_OF_RULES = 0.8, 0.5
"""This share of the recipes is for the whole program, unless only one block may be rewritten: for models that read, and for the
rules of `offline`, which know one block at a time."""
CHANGE_SHARE, LEAST_CHANGE, MOST_CHANGE = 0.5, 1_200, 6_000
"""Characters of an elite's change that are shown, as a share of the program's, and the bounds."""


@dataclass(frozen=True)
class EvolutionOfThought:
    name: str = "eot"
    noun: str = "Evolution of Thought"
    share: float = 0.05

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe for one block or for the whole program; None if no elite has a change that this parent can learn from."""
        if context.single_block:
            return self.draw_for_block(context)
        if all(elite.id == context.parent.id for elite in context.elites):
            return None
        reads = any(model != "offline" for model in context.sampling.models)
        whole = context.rng.random() < (WHOLE_PROGRAM_SHARE if reads else WHOLE_PROGRAM_SHARE_OF_RULES)
        return self.draw_for_program(context) if whole else self.draw_for_block(context)

    def draw_for_block(self, context: DrawContext) -> Recipe | None:
        """Choose an elite that differs from the seed, one of the blocks it changed, and another block of the parent to rewrite.

        Both blocks are live: a dead one has no effect to learn from.
        """
        rng = context.rng
        changes = _changes(context)
        if not changes:
            return None
        elite, blocks = rng.choice(changes)
        example = rng.choice(blocks)
        targets = [name for name in context.evolvable_blocks if name != example]
        if not targets:
            return None
        return Recipe(
            operator=self.name,
            parents=(context.parent.id,),
            blocks=(rng.choice(targets),),
            elite=elite.id,
            example=example,
            **context.sampling.draw(rng),
        )

    def draw_for_program(self, context: DrawContext) -> Recipe | None:
        """Choose an elite that differs from the seed: its whole change is shown, and any block of the parent may be rewritten."""
        # The parent has its own change already: there is nothing to learn from it.
        changes = [(elite, blocks) for elite, blocks in _changes(context) if elite.id != context.parent.id]
        if not changes:
            return None
        elite, _ = context.rng.choice(changes)
        asked = context.sampling.draw(context.rng)
        return Recipe(operator=self.name, parents=(context.parent.id,), blocks=(), elite=elite.id, **asked)

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        """A recipe without blocks is for the whole program."""
        if not recipe.blocks:
            return _prompt_for_program(prompts, recipe, base, context)
        return _prompt_for_block(prompts, recipe, base, context)


def _changes(context: DrawContext) -> list[tuple[Individual, list[str]]]:
    """The elites that differ from the seed in live blocks, each with the names of these blocks."""
    changes = []
    for elite in context.elites:
        live = {block.name for block in elite.genome.live_blocks}
        if blocks := [name for name in differing_blocks(elite.genome, context.seed.genome) if name in live]:
            changes.append((elite, blocks))
    return changes


def _prompt_for_block(prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
    (target,) = recipe.blocks
    if recipe.elite is None or recipe.example is None:
        raise ValueError("Evolution of Thought needs an elite and one of its blocks")
    seed, elite, example = context.seed, context.individuals[recipe.elite], recipe.example
    parent = context.individuals[recipe.parents[0]]
    new, old = elite.genome.block(example), seed.genome.block(example)
    shown = {target: "the block to rewrite, see below"}
    for version, where in ((old, "as the seed's, see below"), (new, "as the elite's, see below")):
        if base.block(example).source == version.source:
            shown[example] = where
    text = prompts.parts["eot"].fill(
        opening=opening(prompts, context, rules_for_block(prompts, recipe, base)),
        situation=situation(prompts, base, context, parent, {"elite": elite}, blocks=recipe.blocks),
        surroundings=surroundings(prompts, base, target, shown),
        example=bare_name(example),
        source_seed=fence(old.source, "python"),
        elite=elite.id,
        source_elite=fence(new.source, "python"),
        needs_elite=fenced_code(missing_definitions(new, elite.genome, seed.genome)),
        elsewhere=code_names(name for name in differing_blocks(elite.genome, seed.genome) if name != example),
        block=bare_name(target),
        source=fence(base.block(target).source, "python"),
        length=length(prompts, recipe),
    )
    return conversation(prompts, recipe.role, text)


def _prompt_for_program(prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
    if recipe.elite is None:
        raise ValueError("Evolution of Thought needs an elite")
    elite, parent = context.individuals[recipe.elite], context.individuals[recipe.parents[0]]
    # Its own last step: the way from the seed is long, and most of it may be in the program already.
    before = context.parent_of(elite) or context.seed
    program, unused = whole_program(base)
    own = {block.name: block for block in base.all_blocks}
    changed = changed_blocks(before.genome, elite.genome)
    shared = [name for name in changed if name in own and same_meaning(own[name], elite.genome.block(name))]
    text = prompts.parts["eot_whole"].fill(
        opening=opening(prompts, context, rules_for_program(prompts, base)),
        situation=situation(prompts, base, context, parent, {"elite": elite}),
        program=program,
        unused=unused,
        before=before.id,
        elite=elite.id,
        change=_change(before.genome, elite.genome, changed, _room(elite)),
        shared=code_names(shared),
        scale=scale(prompts, context),
        length=length(prompts, recipe),
    )
    return conversation(prompts, recipe.role, text)


def _change(before: Genome, after: Genome, changed: Collection[str], room: int) -> str:
    """What came, as whole definitions: what a redesign threw away would take half of the room."""
    live = {block.name for block in after.live_blocks}
    text = new_code(before, after, [name for name in changed if name in live], room, as_diff=True)
    return fence(text or shortened_diff(before, after, room), "diff")


def _room(elite: Individual) -> int:
    """Characters of the elite's change that are shown."""
    size = sum(map(len, elite.genome.files.values()))
    return round(min(max(CHANGE_SHARE * size, LEAST_CHANGE), MOST_CHANGE))
