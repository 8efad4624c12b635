"""Whether a program is known already: the same statements, whatever comments, docstrings and spacing it has."""

from __future__ import annotations

from agent.genome import Genome


class Novelty:
    """Every genome that was claimed, numbered in order. One thread may add while others look up earlier genomes."""

    def __init__(self, seed: Genome, id: str) -> None:
        self._owners: dict[str, tuple[int, str]] = {seed.fingerprint: (0, id)}

    @property
    def count(self) -> int:
        """Genomes so far; `twin` takes such a number as `before`."""
        return len(self._owners)

    def claim(self, id: str, genome: Genome) -> str | None:
        """Reserve the genome. Returns the id of the candidate that had it before, or None if it is new."""
        _, owner = self._owners.setdefault(genome.fingerprint, (len(self._owners), id))
        return None if owner == id else owner

    def twin(self, genome: Genome, before: int) -> str | None:
        """The id of the candidate with the same genome among the first `before` genomes, or None."""
        number, owner = self._owners.get(genome.fingerprint, (before, ""))
        return owner if number < before else None
