"""What a run keeps, it keeps to its end: Python's collector need not look at it again and again."""

from __future__ import annotations

import gc

from agent.events import Event, Settled

EVERY = 250
"""Children between two looks. In a night of ten thousand the collector would take a fifth of the controller's time."""


class Heap:
    """A fold over the events of a run."""

    def __init__(self) -> None:
        self._settled = 0

    def see(self, event: Event) -> None:
        """Clears away what is left over, now and then, and leaves all else alone from then on."""
        if isinstance(event, Settled):
            self._settled += 1
            if self._settled % EVERY == 0:
                gc.collect()
                gc.freeze()

    def close(self) -> None:
        """The run is over: what it kept may go."""
        gc.unfreeze()
