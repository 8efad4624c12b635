"""What measured differences are worth: the one place for the statistics of a run.

Everything compares means of trainings of two sources, under the assumption that trainings of one source spread normally
with the same sigma for all sources of a run. Sigma itself is estimated from few trainings, so bands come from Student's
t with the degrees of freedom at hand. scipy is imported late: reading commands do not need it.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

CONFIDENCE = 0.95
"""Two-sided, of every band and interval."""
MOST_TRAININGS = 20
"""A difference that so many more trainings of both sources would not settle counts as noise."""


@dataclass(frozen=True)
class Spread:
    """How far trainings of the same source lie apart: the standard deviation and its degrees of freedom."""

    sigma: float
    df: int

    def __post_init__(self) -> None:
        if not (self.sigma >= 0 and self.df >= 1):
            raise ValueError(f"a spread needs a sigma of at least 0 and a degree of freedom: {self.sigma=}, {self.df=}")


def pooled_spread(samples: Iterable[Sequence[float]]) -> Spread | None:
    """From every source that was trained more than once; None if there is none.

    Each sample holds the values of one source. Sources differ in their means, not in their spread.
    """
    squares, df = 0.0, 0
    for values in samples:
        if len(values) >= 2:
            squares += statistics.variance(values) * (len(values) - 1)
            df += len(values) - 1
    return Spread(math.sqrt(squares / df), df) if df else None


def band(spread: Spread, n: int = 1, m: int = 1, confidence: float = CONFIDENCE) -> float:
    """The largest difference of two means, of `n` and of `m` trainings, that chance alone explains at this confidence.

    With four trainings behind sigma: 4.5 sigma between two single trainings, 3.6 sigma against a mean of four.
    """
    return _t(0.5 + confidence / 2, spread.df) * spread.sigma * math.sqrt(1 / n + 1 / m)


def p_value(change: float, spread: Spread, n: int = 1, m: int = 1) -> float:
    """Two-sided: how often chance alone makes so large a difference of two means. 1 for no change at all."""
    from scipy.special import stdtr

    error = spread.sigma * math.sqrt(1 / n + 1 / m)
    if not error:
        return 1.0 if not change else 0.0
    return float(2 * stdtr(spread.df, -abs(change) / error))


def trainings_needed(change: float, spread: Spread, n: int = 1, m: int = 1) -> int | None:
    """How many more trainings of each source would make a difference of this size stand out; 0 if it does already.

    None if `MOST_TRAININGS` would not: then it is no larger than noise. The added trainings sharpen sigma too.
    """
    for more in range(MOST_TRAININGS + 1):
        sharper = Spread(spread.sigma, spread.df + 2 * more)
        if abs(change) > band(sharper, n + more, m + more):
            return more
    return None


def smallest_gain(spread: Spread, m: int = 1, power: float = 0.8) -> float:
    """The true gain that one training finds this often, against a mean of `m` trainings."""
    error = spread.sigma * math.sqrt(1 + 1 / m)
    return (_t(0.5 + CONFIDENCE / 2, spread.df) + _t(power, spread.df)) * error


@lru_cache(maxsize=256)
def best_by_luck(candidates: int, df: int, m: int, share: float = 0.5) -> float:
    """Where the best of so many candidates that change nothing lies above the seed's mean, in estimated sigmas.

    `df`: degrees of freedom of sigma; `m`: trainings of the seed's mean; `share`: the quantile, the median by default.
    Sigma and the mean are the same for all candidates, so their errors do not average out: both are integrated over.
    """
    import numpy as np
    from scipy.special import gammaincinv, ndtr, ndtri

    if candidates < 1:
        raise ValueError("at least one candidate is needed")
    sigmas = np.sqrt(2 * gammaincinv(df / 2, _places(400)) / df)[:, None]  # quantiles of the estimated sigma over the true one
    means = ndtri(_places(60))[None, :] / math.sqrt(m)
    low, high = -50.0, 1e3
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(ndtr(middle * sigmas + means) ** candidates) < share else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Difference:
    """Of two means: the estimate, its interval at `CONFIDENCE`, and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Mean of `a` minus mean of `b`, without assuming equal spreads (Welch 1947).

    Two samples that do not vary are compared as they are. Raises ValueError for fewer than two values in either.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("Welch's test needs at least two values of each")
    value = statistics.fmean(a) - statistics.fmean(b)
    if not statistics.pvariance(a) and not statistics.pvariance(b):
        return Difference(value, value, value, 1.0 if not value else 0.0)
    from scipy.stats import ttest_ind

    with _quiet():
        test = ttest_ind(a, b, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
    return Difference(value, float(interval.low), float(interval.high), float(test.pvalue))


def no_worse(a: Sequence[float], b: Sequence[float], margin: float, *, larger_is_better: bool) -> float:
    """One-sided p-value of "`a` is worse than `b` by `margin` or more" (Welch): small means no worse than the margin."""
    sign = 1.0 if larger_is_better else -1.0
    shifted = [sign * value + margin for value in a]
    other = [sign * value for value in b]
    if not statistics.pvariance(shifted) and not statistics.pvariance(other):
        return 0.0 if shifted[0] > other[0] else 1.0
    from scipy.stats import ttest_ind

    with _quiet():
        return float(ttest_ind(shifted, other, equal_var=False, alternative="greater").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for looking at all of them (Holm 1979): reject those up to the level, and the share of runs with any
    false rejection stays below it."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _places(count: int) -> Any:
    """The middles of so many equal parts of 0 to 1: quantiles to integrate over."""
    import numpy as np

    return (np.arange(count) + 0.5) / count


@contextmanager
def _quiet() -> Iterator[None]:
    """scipy warns where one of two samples does not vary, which is no mistake of the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def _t(probability: float, df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))
