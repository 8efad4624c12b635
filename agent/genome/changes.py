"""Which blocks differ between two genomes."""

from __future__ import annotations

from agent.genome.genome import Block, Genome


def changed_blocks(old: Genome, new: Genome) -> tuple[str, ...]:
    """Names of the blocks that do something else in `new` than in `old`, then of those that are new to it.

    Blocks that are gone are not among them: they went because of the others.
    """
    before = {block.name: block for block in old.all_blocks}
    changed = [b.name for b in new.all_blocks if b.name in before and not alike(b, before[b.name])]
    return (*changed, *(b.name for b in new.all_blocks if b.name not in before))


def alike(a: Block, b: Block) -> bool:
    """They do the same: comments, docstrings and spacing aside."""
    return a.source == b.source or a.meanings == b.meanings
