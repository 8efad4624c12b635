"""What the user may change while a run works: `guidance.md`, words for every prompt, and `frozen.txt`, names of blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.core.text import clean
from agent.journal.events import SteeringChanged
from agent.population.candidate import Individual

LIMIT = 4_000
"""Characters of guidance that a prompt shows."""
_READ = 64 << 10
"""Bytes of a file that are looked at."""


class Steering:
    """Reads both files again whenever they changed. For one thread."""

    def __init__(self, guidance: Path, frozen: Path, usual: frozenset[str], record: Callable[[SteeringChanged], None]) -> None:
        """`usual`: the blocks that are frozen while there is no such file."""
        self.guidance = ""
        self.frozen = self._usual = usual
        self._files, self._record = (guidance, frozen), record
        self._seen: dict[Path, tuple[int, int] | None] = {}

    def look(self) -> None:
        """Before each candidate. What cannot be read is said in the journal and counts as empty: it never ends a run."""
        guidance, frozen = self._files
        if self._changed(guidance):
            text, said = _read(guidance)
            self.guidance = text if len(text) <= LIMIT else text[:LIMIT] + "\n[cut]"
            self._record(SteeringChanged("guidance", said or self.guidance))
        if self._changed(frozen):
            text, said = _read(frozen)
            names = frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
            self.frozen = names if frozen.exists() and not said else self._usual
            self._record(SteeringChanged("frozen", said or ", ".join(sorted(self.frozen))))

    def seen(self, individual: Individual) -> Individual:
        """The same individual with those blocks frozen that are now."""
        if individual.genome.frozen == self.frozen:
            return individual
        return replace(individual, genome=replace(individual.genome, frozen=self.frozen))

    def _changed(self, file: Path) -> bool:
        try:
            status = file.stat()
            state = (status.st_mtime_ns, status.st_size)
        except OSError:
            state = None
        if state == self._seen.get(file):
            return False
        self._seen[file] = state
        return True


def _read(file: Path) -> tuple[str, str]:
    """(the text, clean; what is wrong with the file)"""
    try:
        with file.open("rb") as opened:
            data = opened.read(_READ)
        text = data.decode("utf-8", "ignore" if len(data) == _READ else "strict")  # the last character may be cut
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        return "", f"{file.name} cannot be read: {error}"
    except UnicodeDecodeError:
        return "", f"{file.name} is no UTF-8 text and is left out"
    return clean(text).strip(), ""
