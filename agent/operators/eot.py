"""Evolution of Thought: learn why an elite's change measured well, then apply that insight to another block."""

from __future__ import annotations

from dataclasses import dataclass

from agent.genome import Genome
from agent.individual import Recipe
from agent.llm import Message
from agent.operators.compare import borrowed, differing, plain
from agent.operators.context import Context
from agent.operators.conversation import conversation, rules
from agent.operators.situation import measured, names, situation
from agent.operators.surroundings import surroundings
from agent.prompting import Prompts, fence


@dataclass(frozen=True)
class EvolutionOfThought:
    prompts: Prompts
    name: str = "eot"
    n_parents: int = 1

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
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
