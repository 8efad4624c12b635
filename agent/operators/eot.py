"""Evolution of Thought: learn why an elite's change measured well, then apply that insight to another block."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome, changed_blocks, diff, same_meaning
from agent.llm import Message
from agent.operators.compare import borrowed, differing, plain
from agent.operators.context import Context
from agent.operators.conversation import conversation, rules, rules_whole
from agent.operators.situation import measured, names, situation
from agent.operators.surroundings import program, surroundings
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe

CHANGE = 6_000
"""Characters of an elite's whole change that are shown."""


@dataclass(frozen=True)
class EvolutionOfThought:
    prompts: Prompts
    name: str = "eot"
    n_parents: int = 1

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        """Without blocks, the recipe is of the whole: all that the elite changed, to be applied anywhere."""
        if not recipe.blocks:
            return self._whole(recipe, base, context)
        (target,) = recipe.blocks
        if recipe.elite is None or recipe.example is None:
            raise ValueError("Evolution of Thought needs an elite and one of its blocks")
        seed, elite, example = context.seed, context.individuals[recipe.elite], recipe.example
        new, old = elite.genome.block(example), seed.genome.block(example)
        needs = borrowed(new, elite.genome, seed.genome)
        shown = {target: "the block to rewrite, see below"}
        for version, where in ((old, "as the seed's, see below"), (new, "as the elite's, see below")):
            if base.block(example).source == version.source:
                shown[example] = where
        return conversation(
            self.prompts,
            recipe.role,
            self.prompts.parts["eot"].fill(
                situation=situation(
                    self.prompts, base, context, context.individuals[recipe.parents[0]], {"Elite": elite}
                ),
                surroundings=surroundings(self.prompts, base, target, shown),
                example=plain(example),
                fitness_seed=measured(seed, context),
                source_seed=fence(old.source, "python"),
                elite=elite.id,
                fitness_elite=measured(elite, context),
                source_elite=fence(new.source, "python"),
                needs_elite=fence(needs, "python") if needs else "",
                elsewhere=names(name for name in differing(elite.genome, seed.genome) if name != example),
                block=plain(target),
                source=fence(base.block(target).source, "python"),
                rules=rules(self.prompts, recipe, base),
            ),
        )

    def _whole(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        if recipe.elite is None:
            raise ValueError("Evolution of Thought needs an elite")
        elite = context.individuals[recipe.elite]
        parent = context.individuals[recipe.parents[0]]
        text, unused = program(base)
        known = {block.name: block for block in base.all_blocks}
        changed = changed_blocks(context.seed.genome, elite.genome)
        shared = [name for name in changed if name in known and same_meaning(known[name], elite.genome.block(name))]
        return conversation(
            self.prompts,
            recipe.role,
            self.prompts.parts["eot_whole"].fill(
                situation=situation(self.prompts, base, context, parent, {"Elite": elite}),
                program=text,
                unused=unused,
                elite=elite.id,
                change=fence(_change(context.seed.genome, elite.genome), "diff"),
                shared=names(shared),
                rules=rules_whole(self.prompts, recipe, base),
            ),
        )


def _change(old: Genome, new: Genome) -> str:
    """The unified diff as far as it fits, in whole lines, without the headers that say what is said already."""
    lines = diff(old, new).splitlines()
    skipped = ("diff --git", "--- a/", "+++ b/") if len(new.files) == 1 else ("diff --git",)
    lines = [line for line in lines if not line.startswith(skipped)]
    kept, room = 0, CHANGE
    while kept < len(lines) and (room := room - len(lines[kept]) - 1) >= 0:
        kept += 1
    rest = len(lines) - kept
    return "\n".join([*lines[:kept], *([f"[... {rest:,} more lines ...]"] if rest else [])])
