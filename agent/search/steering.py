"""What the user may change during a run: `guidance.md`, a text for every prompt, and `frozen.txt`, names of frozen blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.core.text import clean
from agent.journal.events import SteeringChanged
from agent.population.candidate import Individual

LIMIT = 4_000
"""Characters of guidance that a prompt shows."""
_MOST_BYTES = 64 << 10
"""The most bytes that are read of a file."""


class Steering:
    """Reads both files again whenever they change. Not thread-safe."""

    def __init__(self, guidance: Path, frozen: Path, configured: frozenset[str]) -> None:
        """`configured`: the blocks that are frozen while there is no `frozen.txt`."""
        self.guidance = ""
        self.frozen = self._configured = configured
        self._files = guidance, frozen
        self._states: dict[Path, tuple[int, int] | None] = {}

    def poll(self) -> list[SteeringChanged]:
        """Read the files that have changed; return the changes, to be journaled. Called before each proposal.

        A file that cannot be read counts as empty, and the change says why: it never ends a run.
        """
        guidance, frozen = self._files
        changes = []
        if self._has_changed(guidance):
            text, fault = _read(guidance)
            self.guidance = text if len(text) <= LIMIT else text[:LIMIT] + "\n[cut]"
            changes.append(SteeringChanged("guidance", fault or self.guidance))
        if self._has_changed(frozen):
            text, fault = _read(frozen)
            names = frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
            self.frozen = names if frozen.exists() and not fault else self._configured
            changes.append(SteeringChanged("frozen", fault or ", ".join(sorted(self.frozen))))
        return changes

    def apply(self, individual: Individual) -> Individual:
        """The same individual with the blocks frozen that the user wants frozen now."""
        if individual.genome.frozen == self.frozen:
            return individual
        return replace(individual, genome=replace(individual.genome, frozen=self.frozen))

    def _has_changed(self, file: Path) -> bool:
        try:
            status = file.stat()
            state = (status.st_mtime_ns, status.st_size)
        except OSError:
            state = None
        if state == self._states.get(file):
            return False
        self._states[file] = state
        return True


def _read(file: Path) -> tuple[str, str]:
    """(the text without control characters; why the file could not be read, empty if it could)"""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES)
        text = data.decode("utf-8", "ignore" if len(data) == _MOST_BYTES else "strict")  # the last character may be cut
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        return "", f"{file.name} cannot be read: {error}"
    except UnicodeDecodeError:
        return "", f"{file.name} is not UTF-8 text and is ignored"
    return clean(text).strip(), ""
