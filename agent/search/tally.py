"""What a bandit remembers of its arms: faded sums of gains and costs, and the unit in which gains are counted."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

_GAINS = 30
"""The unit of gains is the median of this many recent gains above zero."""
_MOST = 10.0
"""The most units that one gain counts."""


@dataclass(slots=True)
class Tally:
    """Faded sums over the results of an arm. Each gain is in the unit of the time of its result, see `Scale`."""

    count: float = 0.0
    gain: float = 0.0
    square: float = 0.0
    """Sum of the squared gains."""
    cost: float = 0.0
    pending: int = 0
    """Draws whose result has not arrived; they do not fade."""

    def errors(self) -> float:
        """Sum of the squared distances of the gains from their mean."""
        return max(0.0, self.square - self.gain * self.gain / self.count) if self.count else 0.0

    def fade(self, keep: float) -> None:
        self.count *= keep
        self.gain *= keep
        self.square *= keep
        self.cost *= keep

    def add(self, gain: float, cost: float) -> None:
        self.count += 1
        self.gain += gain
        self.square += gain * gain
        self.cost += cost


class Scale:
    """Converts rewards into gains, in units of a typical recent one."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scale) and self._recent == other._recent

    __hash__ = None  # type: ignore[assignment]

    def measure(self, reward: float) -> float:
        """The gain of a reward. The reward itself is among those that it is compared with, so the first gain is 1."""
        if reward == 0:
            return 0.0
        self._recent.append(reward)
        insort(self._ordered, reward)
        if len(self._recent) > _GAINS:
            del self._ordered[bisect_left(self._ordered, self._recent.popleft())]
        return min(_MOST, reward / self._ordered[len(self._ordered) // 2])
