"""The same rewrites over a whole program: two or three blocks at once, each of which keeps its call sites and sizes."""

from __future__ import annotations

import random
from collections.abc import Callable

from agent.genome.genome import Block, Genome
from agent.genome.rewrites.catalogue import Change, kind_of_change, mutate, rewritten, smaller

FREE = "free"
_DIRECTIVES = ("parameters", "uncommon parameters", "complex", "reduce size", "uncommon", "significant")


def revise(genome: Genome, directive: str, rng: random.Random) -> Change | None:
    """Rewrites of the directive's kind, or of any kind if it is `free`; None if nothing fits."""

    def one(block: Block) -> Change | None:
        return mutate(block.source, rng.choice(_DIRECTIVES) if directive == FREE else directive, rng)

    return _several(genome, one, rng)


def apply_insight(before: str, after: str, genome: Genome, rng: random.Random) -> Change | None:
    """The kind of change that turned `before` into `after`, wherever it fits; where it does not at all, some change of values."""
    kind = kind_of_change(before, after)
    fallback = "reduce size" if smaller(before, after) else "parameters"
    return _several(genome, lambda block: rewritten(block.source, kind, rng), rng) or revise(genome, fallback, rng)


def _several(genome: Genome, change: Callable[[Block], Change | None], rng: random.Random) -> Change | None:
    wanted = rng.choice((2, 3))
    found: dict[str, tuple[Block, Change]] = {}
    for block in rng.sample(genome.live_blocks, len(genome.live_blocks)):
        if len(found) < wanted and (made := change(block)) is not None and made.source != block.source:
            found[block.name] = block, made
    if not found:
        return None
    parts, marked = [], ""
    for block, made in (found[block.name] for block in genome.blocks if block.name in found):
        if len(genome.files) > 1 and block.file != marked:
            parts.append(f"# {block.file}")
            marked = block.file
        parts.append(made.source.strip() + "\n")
    told = "; ".join(f"in `{name.rpartition(':')[2]}` {made.told}" for name, (_, made) in found.items())
    imports = "\n".join(dict.fromkeys(line for _, made in found.values() for line in made.imports.splitlines()))
    return Change("\n\n".join(parts), imports, told)
