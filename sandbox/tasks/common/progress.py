"""Parses the progress lines that a training prints, for display and for the rule that ends hopeless trainings.

Any program can print such a line. So no value of it enters a fitness, and a candidate that lies gains only the time that it was
granted anyway.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from sandbox.tasks.common.job import Progress

SHARE = 1 / 3
"""Share of its length before which a training is never ended."""
MARGIN = 1.2
"""A training has learned something if its accuracy is at least this many times that of guessing."""

_LINE = re.compile(
    r"epoch (\d{1,7})/(\d{1,7}), step (\d{1,9})/(\d{1,9})(?:, done)?: "
    r"loss (-?[\d.]{1,20}|nan|inf|-inf), training accuracy ([\d.]{1,8}|nan)"
)


def parse(line: str) -> Progress | None:
    """Parse a line of the training loop; return None for any other line."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    try:
        loss, accuracy = float(match[5]), float(match[6])
    except ValueError:
        return None
    epoch, epochs, step, steps = (int(match[n]) for n in range(1, 5))
    return Progress(epoch, epochs, step, steps, loss, accuracy)


class Watcher:
    """A `Watch` that passes progress on and, if wanted, ends a training that has learned nothing in a third of its length."""

    def __init__(self, progress: Callable[[Progress], None] | None, guessing: float | None) -> None:
        """`guessing`: the accuracy of always predicting the largest class; None: never end a training."""
        self._progress, self._guessing = progress, guessing
        self.given_up: Progress | None = None
        """The progress at which the training was ended."""

    def __call__(self, line: str) -> bool:
        found = parse(line)
        if found is None:
            return True
        if self._progress:
            self._progress(found)
        if self._guessing is not None and found.step >= SHARE * found.steps:
            no_better = not math.isfinite(found.accuracy) or found.accuracy < MARGIN * self._guessing
            self.given_up = found if no_better else None
        return self.given_up is None

    def reason(self) -> str:
        """Return in a sentence why the training was ended."""
        assert self.given_up is not None and self._guessing is not None
        return (
            f"After {self.given_up.step:,} of {self.given_up.steps:,} steps {self.given_up.accuracy:.1%} of the training "
            f"images were right, where guessing gives {self._guessing:.1%}: it was stopped early."
        )
