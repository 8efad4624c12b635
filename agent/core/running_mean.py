"""A mean that follows a quantity which drifts, such as the seconds of an evaluation over a night."""

from __future__ import annotations


class RunningMean:
    """The plain mean of the first values; then exponentially weighted, so that old values are slowly forgotten."""

    def __init__(self, weight: float, start: float = 0.0) -> None:
        """`weight`: share of each new value in the mean, from 0 to 1; the first 1 / `weight` values count alike.

        `start`: the value until the first one is added.
        """
        self.value = start
        self._weight = weight
        self._deviation = 0.0
        self.count = 0
        """How many values were added."""

    @property
    def known(self) -> bool:
        """Whether any value was added."""
        return self.count > 0

    @property
    def upper(self) -> float:
        """A bound that nearly all values are below: the mean plus twice the mean distance of the values from it."""
        return self.value + 2 * self._deviation

    def add(self, value: float) -> None:
        self.count += 1
        if self.count == 1:
            self.value = value
            return
        weight = max(self._weight, 1 / self.count)
        self._deviation += weight * (abs(value - self.value) - self._deviation)
        self.value += weight * (value - self.value)
