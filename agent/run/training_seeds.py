"""Which training seed a candidate is trained with in the search."""

from __future__ import annotations

from agent.population.candidate import SEED_ID
from agent.run.config import RunSection

FIRST_OF_NULL_RUN = 500_000
"""Above `run.training_seed`: between the training seeds of the noise, which follow on that one, and those of a confirmation."""


def training_seed_of(id: str, run: RunSection) -> int:
    """The same for all candidates; in a null run one of its own for each.

    With the same one, programs that differ by nothing would measure the same to the last bit, and no luck would show.
    """
    if not run.null or id == SEED_ID:
        return run.training_seed
    return run.training_seed + FIRST_OF_NULL_RUN + int(id)
