"""Take over changes of other programs, block by block: which fit into a program, and which program they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from agent.genome import Genome, analyse_statements
from agent.operators.changes import Change, Measured, apart
from agent.operators.compare import missing_definitions
from agent.operators.splice import block_groups
from agent.population.candidate import Individual

Essence = frozenset[tuple[str, str]]
"""What a program does: (file, meaning) of each block that is reachable and of each constant that such a block mentions."""


@dataclass(frozen=True)
class Graft:
    """A change that fits into a program: its blocks stand there as they were before the change."""

    change: Change
    brought: Mapping[str, str] = field(hash=False)
    """The definitions that come along because the program lacks them: name -> meaning."""


def grafts(base: Individual, seed: Individual, measured: Measured, most: int) -> Iterator[Graft]:
    """Yield changes that fit into `base` and that it lacks, the largest gains first, of the same blocks only the largest."""
    found: set[frozenset[str]] = set()
    for own in measured.own_changes():
        if len(found) >= most:
            return
        if (graft := _graft(own.giver, base, seed, measured)) and frozenset(graft.change.blocks) not in found:
            found.add(frozenset(graft.change.blocks))
            yield graft


def compatible(a: Graft, b: Graft) -> bool:
    """Whether both fit into the program at once: no block in common, and no name that each gives another meaning."""
    shared = a.brought.keys() & b.brought.keys()
    return apart(a.change, b.change) and all(a.brought[name] == b.brought[name] for name in shared)


def _graft(giver: Individual, base: Individual, seed: Individual, measured: Measured) -> Graft | None:
    """What the giver changed since the ancestor that has these blocks as `base` has them (see `Measured.origin`)."""
    before = measured.origin(giver, base)
    change = measured.change(giver, before) if before else None
    if before is None or change is None or _other_constants(before.genome, giver.genome):
        return None
    if not (blocks := _blocks_to_move(change, base, seed)):
        return None
    moved = replace(change, blocks=blocks)
    return Graft(moved, _brought(moved, base.genome))


def _blocks_to_move(change: Change, base: Individual, seed: Individual) -> tuple[str, ...]:
    """The blocks of `base` that the change replaces; empty if it cannot be taken over whole and without other changes."""
    given = {*change.blocks}
    own, free = {block.name for block in base.genome.all_blocks}, {block.name for block in base.genome.blocks}
    if not given & own <= free:
        return ()
    groups = [group for group in block_groups(base, change.giver, seed) if given & {*group}]
    moved = tuple(name for group in groups for name in group)
    return moved if {*moved} == given & own else ()


def _other_constants(before: Genome, after: Genome) -> bool:
    """Whether a change also gave a constant another value, which cannot be taken over block by block."""
    for path, text in after.files.items():
        old = _constants(before.files.get(path, ""))
        if any(old.get(names, meaning) != meaning for names, meaning in _constants(text).items()):
            return True
    return False


def _constants(text: str) -> dict[frozenset[str], str]:
    return {facts.bound_names: facts.meaning for facts in analyse_statements(text) if facts.plain_assignment}


def _brought(change: Change, base: Genome) -> dict[str, str]:
    texts = [missing_definitions(block, change.giver.genome, base) for block in map(change.giver.genome.block, change.blocks)]
    statements = [facts for text in texts for facts in analyse_statements(text)]
    return {name: facts.meaning for facts in statements for name in facts.bound_names}


def put_together(base: Genome, given: Sequence[tuple[Genome, str]]) -> Genome:
    """The program with blocks of others, each given as (program, block), and what they need; what became unused stays in it."""
    texts = dict(base.files)
    for giver, name in given:
        old, new = base.block(name), giver.block(name)
        needed = [text for text in (missing_definitions(new, giver, base), new.source.strip("\n")) if text]
        texts[old.file] = texts[old.file].replace(old.source.strip("\n"), "\n\n\n".join(needed), 1)
    return base.with_same_rules(texts)


def is_whole(genome: Genome, names: Iterable[str]) -> bool:
    """Whether the program uses all of these blocks: what one change does to a block that another made unused is lost."""
    return {*names} <= {block.name for block in genome.live_blocks}


@lru_cache(maxsize=4096)
def essence(genome: Genome) -> Essence:
    """Equal for programs that do the same, whatever stands in them unused, in which order, and with which imports."""
    used = [block for block in genome.all_blocks if not genome.live_names or block.name in genome.live_names]
    kept = {(block.file, meaning) for block in used for meaning in block.meanings}
    statements = [(path, facts) for path, text in genome.files.items() for facts in analyse_statements(text)]
    mentioned = {name for path, facts in statements if (path, facts.meaning) in kept for name in facts.mentioned_names}
    constants = {(path, facts.meaning) for path, facts in statements if facts.plain_assignment and facts.bound_names & mentioned}
    return frozenset(kept | constants)
