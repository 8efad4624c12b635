"""Whether the result of mating or splicing two programs is known before it is made: then it is not worth a training."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agent.genome import Block, Genome, same_meaning
from agent.operators.changes import Measured
from agent.population.candidate import Individual


def known_splice(a: Individual, b: Individual, blocks: Collection[str], measured: Measured | None) -> bool:
    """Whether some individual is program `a` with these blocks of `b`, as far as blocks tell."""
    made, theirs = _by_name(a.genome), _by_name(b.genome)
    made |= {name: theirs[name] for name in blocks}
    return measured is not None and any(_is_made_of(one.genome, made, theirs) for one in measured.individuals.values())


def only_restores(a: Individual, b: Individual, blocks: Collection[str], measured: Measured | None) -> bool:
    """Whether `b` would give only versions that `a` had before its own change, which was measured better in every objective."""
    if measured is None or not a.candidate.parents:
        return False
    parent = measured.individuals[a.candidate.parents[0]]
    if not a.fitness.dominates(parent.fitness, measured.objectives):
        return False
    earlier, given = _by_name(parent.genome), _by_name(b.genome)
    return all(name in earlier and name in given and same_meaning(earlier[name], given[name]) for name in blocks)


def _by_name(genome: Genome) -> dict[str, Block]:
    return {block.name: block for block in genome.all_blocks}


def _is_made_of(genome: Genome, made: Mapping[str, Block], helpers: Mapping[str, Block]) -> bool:
    """Whether a genome has the blocks that a splice would make, and besides them only helpers of the giver."""
    own = _by_name(genome)
    if not made.keys() <= own.keys():
        return False
    if not all(block.source == own[name].source or same_meaning(block, own[name]) for name, block in made.items()):
        return False
    return all(name in helpers and same_meaning(own[name], helpers[name]) for name in own.keys() - made.keys())
