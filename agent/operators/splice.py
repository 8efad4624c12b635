"""Splicing: a child of two parents' blocks without any model. The answer that a model would give is put together here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from agent.core.text import fence
from agent.genome import Genome, analyse_statements, block_signature
from agent.operators.compare import borrowed, differing, plain
from agent.operators.context import Context
from agent.population.candidate import Individual, Recipe


@dataclass(frozen=True)
class Splice:
    """The recipe's blocks come from the second parent, with the helpers and imports that they need; all else is the base's."""

    name: str = "splice"
    n_parents: int = 2

    def intention(self, recipe: Recipe) -> str:
        taker, giver = recipe.parents
        return f"{', '.join(map(plain, recipe.blocks))} of {giver} in {taker}"

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        giver = context.individuals[recipe.parents[1]].genome
        if not recipe.blocks:
            raise ValueError("a splice needs the names of the blocks that the second parent gives")
        parts: list[str] = []
        for block in map(giver.block, recipe.blocks):
            parts += [f"# {block.file}"] if len(giver.files) > 1 else []
            parts += [text for text in (borrowed(block, giver, base), block.source) if text]
        return fence("\n\n".join(parts), "python")


def units(a: Individual, b: Individual, seed: Individual) -> list[tuple[str, ...]]:
    """The blocks in which two parents differ, those together that must come from the same parent.

    These are a block and another that it uses, if the other is a helper that answers brought along, is unused in one
    parent, or is called in another way. Blocks that nothing leads to in either parent are not among them.
    """
    own = {block.name for block in seed.genome.all_blocks}
    alive_a, alive_b = ({block.name for block in one.genome.live_blocks} for one in (a, b))
    names = [name for name in differing(a.genome, b.genome) if name in alive_a | alive_b]
    versions = {name: (a.genome.block(name), b.genome.block(name)) for name in names}
    group = {name: name for name in names}
    for user, used in permutations(names, 2):
        alike = block_signature(versions[used][0]) == block_signature(versions[used][1])
        apart = used in own and used in alive_a & alive_b and alike
        if not apart and any(plain(used) in _mentioned(block.source) for block in versions[user]):
            group = {name: group[user] if leader == group[used] else leader for name, leader in group.items()}
    return [tuple(name for name in names if group[name] == leader) for leader in dict.fromkeys(group.values())]


def _mentioned(source: str) -> set[str]:
    return {name for one in analyse_statements(source) for name in one.mentioned_names}
