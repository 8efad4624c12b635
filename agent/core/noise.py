"""The noise of a run's measurements: how far trainings of one source lie apart, and what a change means against it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from agent.core.objectives import Fitness, Objective
from agent.core.statistics import Spread, band, pooled_spread, trainings_needed
from agent.core.text import in_sigmas

STEP = math.log(1.1)
"""Quantities without noise are weighed on a log scale, in steps of 10 %: 20 % fewer parameters are 2.3 steps."""
MOST = 1e6
"""Units that a gain counts at most, so that whatever is made of gains is finite."""
SAME = 0.02
"""A smaller change of a quantity without noise, as a share of its value, is no change."""

Word = Literal["likely real", "within noise", "undecided"]
"""The words for a difference between two measurements; the same rule decides everywhere."""


@dataclass(frozen=True)
class Judgement:
    """What a measured change means."""

    word: Word
    more: int = 0
    """Of `undecided`: how many more trainings of both would make a difference of this size stand out; 0 if none ever would."""

    def __str__(self) -> str:
        if self.word != "undecided" or not self.more:
            return self.word
        return f"undecided (needs {self.more} more training{'s' if self.more > 1 else ''})"


@dataclass(frozen=True)
class Noise:
    """How far trainings of the same source lie apart: the unit in which changes are weighed."""

    sigma: Mapping[str, float] = field(hash=False)
    """Standard deviation of each objective over training seeds, in the objective's own unit; 0 for what does not vary."""
    reference: Mapping[str, float] = field(hash=False)
    """The seed's mean value of each objective, in the same unit."""
    df: int = 3
    """Degrees of freedom behind sigma: how well it is known."""
    trainings: int = 4
    """How many trainings the seed's mean is of."""
    seeds_itself: bool = False
    """Whether all that the program itself reports was the same in all of them: it sets its own training seed, it seems."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", MappingProxyType(dict(self.sigma)))
        object.__setattr__(self, "reference", MappingProxyType(dict(self.reference)))

    @classmethod
    def of(cls, seed: Sequence[Fitness], objectives: Sequence[Objective], others: Iterable[Sequence[Fitness]] = ()) -> Noise:
        """From trainings of the seed, and of any other source that was trained more than once.

        Raises ValueError for fewer than two trainings of the seed: no spread is known.
        """
        if len(seed) < 2:
            raise ValueError("the noise floor needs at least two trainings of the seed")
        groups = [list(seed), *map(list, others)]
        sigma, df = {}, len(seed) - 1
        for o in objectives:
            spread = pooled_spread([fitness[o.name] for fitness in group] for group in groups)
            assert spread is not None, "the seed alone has a spread"
            sigma[o.name], df = spread.sigma, spread.df
        means = {o.name: statistics.fmean(fitness[o.name] for fitness in seed) for o in objectives}
        reported = [o for o in objectives if o.reported]
        return cls(sigma, means, df, len(seed), bool(reported) and not any(sigma[o.name] for o in reported))

    def pooled_with(self, others: Iterable[Sequence[Fitness]]) -> Noise:
        """The same noise, known better by other sources that were trained more than once: what `of` gives of all of them.

        The seed's mean stays. A source that was trained once says nothing about the spread.
        """
        groups = [group for group in others if len(group) >= 2]
        more = sum(len(group) - 1 for group in groups)
        sigma = {}
        for name, known in self.sigma.items():
            squares = sum(statistics.variance([one[name] for one in group]) * (len(group) - 1) for group in groups)
            sigma[name] = math.sqrt((known**2 * self.df + squares) / (self.df + more))
        return replace(self, sigma=sigma, df=self.df + more)

    def error(self, trainings: int) -> dict[str, float]:
        """The standard error of a mean of so many trainings, by objective, of those that vary."""
        return {name: sigma / math.sqrt(trainings) for name, sigma in self.sigma.items() if sigma}

    @classmethod
    def unmeasured(cls, seed: Fitness, objectives: Sequence[Objective]) -> Noise:
        """Where the noise was not measured, every change counts as one."""
        return cls({o.name: 0.0 for o in objectives}, {o.name: seed[o.name] for o in objectives}, trainings=1)

    def mean_of_seed(self, seed: Fitness) -> Fitness:
        """What changes are counted from: the seed's mean where it varies, since its one training may have been lucky."""
        return Fitness({name: self.reference[name] if self.sigma.get(name) else value for name, value in seed.values.items()})

    def spread(self, name: str) -> Spread:
        return Spread(self.sigma[name], self.df)

    def gain(self, objective: Objective, change: float, before: float | None = None) -> float:
        """The change in units, positive for the better: one unit is one sigma, or a step of 10 % where there is no noise.

        `before`: the value that changed, the seed's by default. A value that was or becomes 0 changes by one unit. The gain is
        at most `MOST`.
        """
        better = change if objective.direction == "max" else -change
        if sigma := self.sigma[objective.name]:
            return _within(better / sigma)
        start = self.reference[objective.name] if before is None else before
        if start > 0 and (ratio := (start + change) / start) > 0:
            steps = math.log(ratio) / STEP
            return _within(steps if objective.direction == "max" else -steps)
        return float((better > 0) - (better < 0))

    def judge(self, objective: Objective, change: float, *, trainings: int = 1, against: int = 1) -> Judgement:
        """Is a difference of two means more than chance? `trainings`, `against`: how many each of the two means is of.

        Without noise any change of at least `SAME` is real, and a smaller one is none. But where a program `seeds_itself`, no
        training tells a change of what it reports from luck.
        """
        if not self.sigma[objective.name]:
            size = abs(self.reference[objective.name])
            real = abs(change) >= SAME * size if size else bool(change)
            if real and change and objective.reported and self.seeds_itself:
                return Judgement("undecided")
            return Judgement("likely real" if real and change else "within noise")
        more = trainings_needed(change, self.spread(objective.name), trainings, against)
        if more is None:
            return Judgement("within noise")
        return Judgement("undecided", more) if more else Judgement("likely real")

    def is_real(self, objective: Objective, change: float, *, trainings: int = 1, against: int = 1) -> bool:
        """Is the difference likely real? See `judge`."""
        return self.judge(objective, change, trainings=trainings, against=against).word == "likely real"

    def band(self, name: str, *, trainings: int = 1, against: int = 1) -> float:
        """The largest difference of two means that chance alone explains in 95 % of cases, in the objective's own unit."""
        return band(self.spread(name), trainings, against)


def _within(units: float) -> float:
    return max(-MOST, min(units, MOST))


def amount(objective: Objective, change: float, noise: Noise) -> str:
    """A change as it is, up or down: `+2.1 sigma`; `-12.4%` where there is no noise; a count where that says nothing."""
    if not change:
        return "same"
    if sigma := noise.sigma[objective.name]:
        return in_sigmas(change / sigma)
    reference = abs(noise.reference[objective.name])
    if reference and abs(change / reference) >= 0.0005:
        return f"{change / reference:+.1%}" if abs(change / reference) < 10 else f"{change / reference:+.0g} times"
    return f"{change:+.4g}"
