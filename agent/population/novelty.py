"""Whether a program is known already: the same statements, whatever comments, docstrings and spacing it has."""

from __future__ import annotations

import threading

from agent.genome import Genome


class Novelty:
    """Every genome that was claimed, numbered in order. Thread-safe."""

    def __init__(self, seed: Genome, id: str) -> None:
        self._owners: dict[str, tuple[int, str]] = {seed.fingerprint: (0, id)}
        self._claimed = {id: seed.fingerprint}
        """By id: the last genome that is claimed for it."""
        self._next = 1
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Genomes so far; `twin` takes such a number as `before`."""
        return self._next

    def claim(self, id: str, genome: Genome) -> str | None:
        """Reserve the genome. Returns the id of the candidate that had it before, or None if it is new."""
        with self._lock:
            return self._claim(id, genome.fingerprint)

    def move(self, id: str, genome: Genome) -> str | None:
        """The same for a candidate that was repaired: the genome that it had before is nobody's any more.

        Returns its own id if that is the genome that it had.
        """
        with self._lock:
            before = self._claimed.get(id)
            if before == genome.fingerprint:
                return id
            if before is not None and self._owners[before][1] == id:
                del self._owners[before]
            return self._claim(id, genome.fingerprint)

    def _claim(self, id: str, fingerprint: str) -> str | None:
        if fingerprint not in self._owners:
            self._owners[fingerprint] = (self._next, id)
            self._next += 1
        owner = self._owners[fingerprint][1]
        if owner != id:
            return owner
        self._claimed[id] = fingerprint
        return None

    def twin(self, genome: Genome, before: int) -> str | None:
        """The id of the candidate with the same genome among the first `before` genomes, or None."""
        number, owner = self._owners.get(genome.fingerprint, (before, ""))
        return owner if number < before else None
