"""Whether a program, or nearly the same one, was met before."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from functools import lru_cache

from agent.genome import Genome

ALIKE = 0.97
"""Blocks are nearly the same from this similarity of their words on (Jaccard)."""
REMEMBERED = 256
"""Versions that each set of changed blocks is compared with: the latest."""

_WORD = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d*)?(?:e-?\d+)?|[^\w\s]")
_COMMENT = re.compile(r"#.*")

Words = frozenset[tuple[str, int]]
"""A word and the how-manieth it is of its kind: `x`, then `x` again, are two."""

_PAIRS: dict[tuple[str, int], tuple[str, int]] = {}
"""One copy of each for the thousands of versions that hold it."""


class Novelty:
    """Every genome that was claimed, in order; for one thread that adds, and several that look at what was before."""

    def __init__(self, seed: Genome, id: str) -> None:
        self._owners: dict[str, tuple[int, str]] = {seed.fingerprint: (0, id)}
        self._versions: defaultdict[frozenset[str], deque[tuple[int, str, dict[str, Words]]]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED)
        )
        self._count = 1

    @property
    def count(self) -> int:
        """Genomes so far: what `twin` and `near` take as `before`."""
        return self._count

    def claim(self, id: str, genome: Genome, parent: Genome | None) -> str | None:
        """Reserves the genome; the id of the child that had it before, if one had."""
        number, owner = self._owners.setdefault(genome.fingerprint, (self._count, id))
        if owner != id:
            return owner
        if number == self._count:
            self._count += 1
            if parent is not None:
                changed = _changed(parent, genome)
                self._versions[frozenset(changed)].append((number, id, {name: _words(text) for name, text in changed.items()}))
        return None

    def twin(self, genome: Genome, before: int) -> str | None:
        """The child with the same genome among the first `before`."""
        number, owner = self._owners.get(genome.fingerprint, (before, ""))
        return owner if number < before else None

    def near(self, genome: Genome, parent: Genome, before: int) -> str | None:
        """A child whose changed blocks are these and nearly the same; numbers that round to one digit alike are alike."""
        changed = {name: _words(text) for name, text in _changed(parent, genome).items()}
        for number, id, versions in list(self._versions.get(frozenset(changed), ())):
            if number < before and all(_alike(words, versions[name]) for name, words in changed.items()):
                return id
        return None


def _changed(old: Genome, new: Genome) -> dict[str, str]:
    before = {block.name: block.source for block in old.all_blocks}
    return {block.name: block.source for block in new.all_blocks if before.get(block.name) != block.source}


@lru_cache(maxsize=4096)
def _words(source: str) -> Words:
    counts: defaultdict[str, int] = defaultdict(int)
    words = set()
    for word in _WORD.findall(_COMMENT.sub("", source)):
        word = f"{float(word):.1g}" if word[0].isdigit() else word
        counts[word] += 1
        pair = word, counts[word]
        words.add(_PAIRS.setdefault(pair, pair))
    return frozenset(words)


def _alike(a: Words, b: Words) -> bool:
    if min(len(a), len(b)) < ALIKE * max(len(a), len(b)):
        return False
    common = len(a & b)
    return common >= ALIKE * (len(a) + len(b) - common)
