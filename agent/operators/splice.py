"""Splicing: put blocks of a second parent into the first. No model is asked: this module writes the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from agent.core.text import fence
from agent.genome import Genome, analyse_statements, bare_name, block_signature
from agent.operators.compare import differing_blocks, missing_definitions
from agent.operators.context import Context
from agent.operators.known import known_splice, only_restores
from agent.operators.operator import DrawContext
from agent.population.candidate import Individual, Recipe

DRAWS = 8
"""So many choices are drawn before the parents count as having nothing new to give."""


@dataclass(frozen=True)
class Splice:
    """The recipe's blocks come from the second parent, with the helpers and imports that they need; all else is the first's."""

    name: str = "splice"
    noun: str = "splicing"
    share: float = 0.0

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe with a random choice of blocks, at least one group from each parent (see `block_groups`).

        None if the parents differ in fewer than two groups: then there is nothing to choose; or if each choice that was drawn
        makes a program that is known, or only puts back what the first parent's change has improved on.
        """
        a, b = context.parent, context.partner
        groups = block_groups(a, b, context.seed) if b else []
        if b is None or len(groups) < 2:
            return None
        choices = range(1, 2 ** len(groups) - 1)  # one bit for each group: neither none nor all
        for chosen in context.rng.sample(choices, min(DRAWS, len(choices))):
            blocks = tuple(name for number, group in enumerate(groups) if chosen >> number & 1 for name in group)
            if not (known_splice(a, b, blocks, context.measured) or only_restores(a, b, blocks, context.measured)):
                seed = context.rng.randrange(2**31)
                return Recipe(operator=self.name, parents=(a.id, b.id), blocks=blocks, model="", seed=seed)
        return None

    def intention(self, recipe: Recipe) -> str:
        taker, giver = recipe.parents
        return f"{', '.join(map(bare_name, recipe.blocks))} of {giver} in {taker}"

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        giver = context.individuals[recipe.parents[1]].genome
        if not recipe.blocks:
            raise ValueError("a splice needs the names of the blocks that the second parent gives")
        return blocks_as_answer([(giver, name) for name in recipe.blocks], base)


def blocks_as_answer(given: Sequence[tuple[Genome, str]], base: Genome) -> str:
    """What a model would answer to put blocks of other programs, and what they need, into `base`. `given`: (program, block)."""
    parts: list[str] = []
    for giver, name in given:
        block = giver.block(name)
        parts += [f"# {block.file}"] if len(giver.files) > 1 else []
        parts += [text for text in (missing_definitions(block, giver, base), block.source) if text]
    return fence("\n\n".join(parts), "python")


def block_groups(a: Individual, b: Individual, seed: Individual) -> list[tuple[str, ...]]:
    """The blocks in which two parents differ, grouped so that the blocks of a group must come from the same parent.

    A block and another that it uses belong together if the other is a helper that answers brought along, is unused in one
    parent, or has another signature in each. Blocks that are dead in both parents are left out.
    """
    own = {block.name for block in seed.genome.all_blocks}
    live_a, live_b = ({block.name for block in one.genome.live_blocks} for one in (a, b))
    names = [name for name in differing_blocks(a.genome, b.genome) if name in live_a | live_b]
    versions = {name: (a.genome.block(name), b.genome.block(name)) for name in names}
    leaders = {name: name for name in names}
    for user, used in permutations(names, 2):
        same_signature = block_signature(versions[used][0]) == block_signature(versions[used][1])
        independent = used in own and used in live_a & live_b and same_signature
        if not independent and any(bare_name(used) in _mentioned_names(block.source) for block in versions[user]):
            leaders = {name: leaders[user] if leader == leaders[used] else leader for name, leader in leaders.items()}
    groups = dict.fromkeys(leaders.values())
    return [tuple(name for name in names if leaders[name] == leader) for leader in groups]


def _mentioned_names(source: str) -> set[str]:
    return {name for statement in analyse_statements(source) for name in statement.mentioned_names}
