"""Which training seed a candidate is trained with in the search."""

from __future__ import annotations

from agent.population.candidate import SEED_ID
from agent.run.config import RunSection

FIRST_OF_NULL_RUN = 500_000
"""Above `run.training_seed`: between the training seeds of the noise, which follow on that one, and those of a confirmation."""
APART = 50_000
"""In a null run, between the training seeds of a candidate's first training, its second one, ..."""


def training_seed_of(id: str, run: RunSection, trainings: int = 0) -> int:
    """The same for all candidates; in a null run one of its own for each.

    With the same one, programs that differ by nothing would measure the same to the last bit, and no luck would show.
    `trainings`: how many it has already.
    """
    if not run.null or id == SEED_ID:
        return run.training_seed + trainings
    return run.training_seed + FIRST_OF_NULL_RUN + APART * trainings + int(id)
