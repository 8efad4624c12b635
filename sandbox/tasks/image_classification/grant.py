"""Holds a training to what it was granted, by clocks that no candidate can reach.

A budget of seconds is held by the wall clock. Steps cannot be counted outside; but a step costs about as much as the predictions
of its images, forwards and backwards, so that a training with many times that processor time took steps within its steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox.sandbox import Report
from sandbox.tasks.common.job import StageFailed

OVER = 1.1
"""Largest share of the seconds of its budget that a training may take, besides its start."""
LEAST_START, MOST_START = 3.0, 15.0
"""Bounds in seconds of what counts as a start: three times the smoke stage, which a candidate can make long."""
START_OF_CUDA = 30.0
"""The same where a GPU has to start."""
PASSES = 3.0
"""A step costs a pass forwards and one backwards, which costs two."""
STEP_SECONDS = 2e-3
"""Processor time of a step besides its passes: optimizer, augmentation, and the calls of many small operations."""
PARAMETER_SECONDS = 2e-8
"""The same for each parameter that an optimizer changes."""
FACTOR = 5.0
"""Beyond this many times the expected processor time a training was no training of so many steps."""
SPARE_SECONDS = 5.0
"""Never too much: below it lie starts and rounding."""


class StartCosts:
    """What a call costs without a model's work, in seconds of processor time; measured once for each device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], float] = {}

    def of(self, device: str, threads: int, measure: Callable[[], float]) -> float:
        with self._lock:
            if (device, threads) not in self._known:
                self._known[device, threads] = measure()
            return self._known[device, threads]


def check_seconds(report: Report, granted: float, smoke_seconds: float, device: str) -> None:
    """Raise StageFailed if a training of `granted` seconds took clearly longer by the clock outside."""
    start = START_OF_CUDA if device != "cpu" else min(MOST_START, max(LEAST_START, 3 * smoke_seconds))
    if report.seconds > OVER * granted + start:
        raise StageFailed(
            "integrity",
            f"Its training was granted {granted:g} s and took {report.seconds:.1f} s by the clock outside, more than a tenth "
            "over it after its start: time must not be slowed, and a step must be short.",
            report.log,
        )


def expected_seconds(images: int, steps: int, each: float, parameters: int) -> float:
    """Return the processor time that a training should take. `each`: that of the prediction of one image."""
    return images * PASSES * each + steps * (STEP_SECONDS + PARAMETER_SECONDS * parameters)


def check_steps(report: Report, expected: float, steps: int) -> None:
    """Raise StageFailed if a training of `steps` steps took many times the expected processor time."""
    if report.cpu_seconds > FACTOR * expected + SPARE_SECONDS:
        raise StageFailed(
            "integrity",
            f"Its training took {report.cpu_seconds:.1f} s of processor time; {steps:,} steps should take about {expected:.1f} s "
            f"by what a prediction costs, and {FACTOR:g} times that is the limit: there must be one pass for each step.",
            report.log,
        )
