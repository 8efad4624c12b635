"""Rewrite a whole program: two or three blocks at once, each of which keeps its call sites and sizes."""

from __future__ import annotations

import random
from collections.abc import Callable

from agent.genome.genome import Block, Genome, bare_name
from agent.genome.rewrites.catalogue import apply_any, fallback_directive, mutate, rewrites_like
from agent.genome.rewrites.change import Change
from agent.genome.rewrites.tools import DIRECTIVES

_FREE = "free"
"""The directive that leaves the kind of change open."""


def revise(genome: Genome, directive: str, rng: random.Random) -> Change | None:
    """Apply rewrites that the directive asks for, or of any kind if it is `free`; None if nothing fits."""

    def mutate_block(block: Block) -> Change | None:
        return mutate(block.source, rng.choice(DIRECTIVES) if directive == _FREE else directive, rng)

    return _change_blocks(genome, mutate_block, rng)


def apply_insight(before: str, after: str, genome: Genome, rng: random.Random) -> Change | None:
    """Apply the kind of change that turned `before` into `after` where it fits, else another one; None if nothing fits."""
    rewrites = rewrites_like(before, after)
    changed = _change_blocks(genome, lambda block: apply_any(block.source, rewrites, rng), rng)
    return changed or revise(genome, fallback_directive(before, after), rng)


def _change_blocks(genome: Genome, change: Callable[[Block], Change | None], rng: random.Random) -> Change | None:
    """Change two or three blocks, chosen at random among those that `change` fits, and join them as one answer's code."""
    wanted = rng.choice((2, 3))
    changes: dict[str, Change] = {}
    called = genome.called_names
    live = [block for block in genome.live_blocks if not called or bare_name(block.name) in called] or genome.live_blocks
    blocks = (*genome.constant_groups, *live)
    for block in rng.sample(blocks, len(blocks)):
        if len(changes) < wanted and (changed := change(block)) is not None and changed.source != block.source:
            changes[block.name] = changed
    if not changes:
        return None
    parts, current_file = [], ""
    for block in (block for block in (*genome.constant_groups, *genome.blocks) if block.name in changes):
        if len(genome.files) > 1 and block.file != current_file:
            parts.append(f"# {block.file}")
            current_file = block.file
        parts.append(changes[block.name].source.strip() + "\n")
    description = "; ".join(f"in `{bare_name(name)}` {changed.description}" for name, changed in changes.items())
    imports = "\n".join(dict.fromkeys(line for changed in changes.values() for line in changed.imports.splitlines()))
    return Change("\n\n".join(parts), imports, description)
