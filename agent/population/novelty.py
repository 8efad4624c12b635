"""Whether a program, or nearly the same one, is known already."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from functools import lru_cache

from agent.genome import Genome

ALIKE = 0.97
"""Two blocks are nearly the same if their words are at least this similar (Jaccard index)."""
REMEMBERED = 256
"""A set of changed blocks is compared with so many earlier versions of the same blocks, the latest ones."""

_WORD = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d*)?(?:e-?\d+)?|[^\w\s]")
_COMMENT = re.compile(r"#.*")

Words = frozenset[tuple[str, int]]
"""Words with their occurrence number: `x` and a second `x` are `("x", 1)` and `("x", 2)`."""

_PAIRS: dict[tuple[str, int], tuple[str, int]] = {}
"""Shares one copy of each pair among the thousands of versions that hold it, to save memory."""


class Novelty:
    """Every genome that was claimed, numbered in order. One thread may add while others look up earlier genomes."""

    def __init__(self, seed: Genome, id: str) -> None:
        self._owners: dict[str, tuple[int, str]] = {seed.fingerprint: (0, id)}
        self._versions: defaultdict[frozenset[str], deque[tuple[int, str, dict[str, Words]]]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED)
        )
        self._count = 1

    @property
    def count(self) -> int:
        """Genomes so far; `twin` and `near` take such a number as `before`."""
        return self._count

    def claim(self, id: str, genome: Genome, parent: Genome | None) -> str | None:
        """Reserve the genome. Returns the id of the candidate that had it before, or None if it is new."""
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
        """The id of the candidate with the same genome among the first `before` genomes, or None."""
        number, owner = self._owners.get(genome.fingerprint, (before, ""))
        return owner if number < before else None

    def near(self, genome: Genome, parent: Genome, before: int) -> str | None:
        """The id of a candidate among the first `before` that changed the same blocks to nearly the same code, or None.

        Numbers that round to the same single digit count as equal.
        """
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
