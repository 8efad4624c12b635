"""What a confirmation concludes: the rules that turn repeated trainings into verdicts. Numbers in, words out; no I/O.

Every program was trained with training seeds that no other training of the run has used. A verdict compares a member of the
front with the seed. docs/confirmation.md explains the rules to a user.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agent.core.objectives import Objective
from agent.core.statistics import CONFIDENCE, Difference, Spread, band, holm, no_worse, p_value, pooled_spread, welch

LEVEL = 1 - CONFIDENCE
"""An adjusted p-value below it counts."""
EXACT_CHANGE = 0.02
"""A quantity that does not vary over training seeds has changed from this share of the seed's value on."""
FEWEST = 2
"""The fewest trainings of a program from which its spread is known."""

Word = Literal["better", "no_worse_and_smaller", "not_confirmed", "undecided"]
CONFIRMED: tuple[Word, ...] = ("better", "no_worse_and_smaller")
Role = Literal["seed", "member", "null"]
Check = Literal["passed", "failed", "incomplete"]


@dataclass(frozen=True)
class Sample:
    """What the trainings of one program measured."""

    id: str
    role: Role
    values: Sequence[Mapping[str, float]]
    """By objective, one mapping for each training that succeeded, on the split that is judged."""
    failures: Sequence[str]
    """Why each of the others failed."""
    planned: int
    """Trainings that were to be made."""
    search: Mapping[str, float] | None = None
    """The fitness that the search measured, the mean if it trained the program more than once; None for a null copy."""
    validation: Sequence[Mapping[str, float]] = ()
    """As `values`, on the validation split."""

    @property
    def is_complete(self) -> bool:
        return len(self.values) + len(self.failures) >= self.planned

    def of(self, objective: str) -> list[float]:
        return [values[objective] for values in self.values]


@dataclass(frozen=True)
class Comparison:
    """One objective of one program against the seed's, in the objective's own unit. None: too few trainings to say."""

    mean: float | None
    difference: float | None = None
    """Mean of the program minus mean of the seed."""
    low: float | None = None
    """Lower end of the interval at `CONFIDENCE`; equal to the difference where nothing varies."""
    high: float | None = None
    p: float | None = None
    """Two-sided, of no difference; None for an exact quantity, here and below."""
    adjusted_p: float | None = None
    """The same by Holm's method over all comparisons of the confirmation."""
    no_worse_p: float | None = None
    """One-sided, of being worse by the margin or more; adjusted in the same way."""
    change: float | None = None
    """Of an exact quantity: the difference as a share of the seed's value."""
    shrinkage: float | None = None
    """What the search measured minus the mean on validation now; positive where more was measured then."""


@dataclass(frozen=True)
class Verdict:
    """What is concluded of one program."""

    id: str
    role: Role
    word: Word | None
    """None for the seed, which all others are compared with."""
    text: str
    """The verdict as words that can stand alone."""
    trainings: int
    """Trainings that ended with values."""
    failures: Sequence[str]
    """Why the others failed."""
    objectives: Mapping[str, Comparison]


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one confirmation, and what they are based on."""

    verdicts: Sequence[Verdict]
    """The seed, the null copies, then the members."""
    comparisons: int
    """Members times noisy objectives: what the p-values are adjusted for."""
    margin: float
    """In sigmas."""
    sigma: Mapping[str, float]
    """Spread of each noisy objective over training seeds, from the seed and its null copies; others are exact."""
    check: Check
    """`failed`: a null copy was found better than the seed, which it is."""
    is_complete: bool
    """Every training that was planned was made."""


@dataclass(frozen=True)
class _Family:
    """The noisy objectives, their spread, and the p-values of all that is compared: (id, objective) -> p."""

    seed: Sample
    objectives: Sequence[Objective]
    spreads: Mapping[str, Spread]
    margin: float
    """In sigmas."""
    differences: dict[tuple[str, str], Difference] = field(default_factory=dict)
    worse: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def noisy(self) -> list[Objective]:
        return [o for o in self.objectives if o.name in self.spreads]


def judge(samples: Sequence[Sample], objectives: Sequence[Objective], margin: float) -> Verdicts:
    """Compares every sample with the seed's. `margin`: in sigmas, what counts as no worse.

    A program is undecided until all trainings of it and of the seed were made: a look at a part of them would be another
    chance to be lucky.
    """
    seed = next(one for one in samples if one.role == "seed")
    members = [one for one in samples if one.role == "member"]
    nulls = [one for one in samples if one.role == "null"]
    family = _Family(seed, objectives, noise_of(samples, objectives), margin)
    for one in (*members, *nulls):
        _compare(family, one)
    adjusted = _adjusted(family, members)
    for null in nulls:  # judged as one more member would be, without making the members' bar any higher
        adjusted |= {key: p for key, p in _adjusted(family, [*members, null]).items() if key[0] == null.id}
    found = [_verdict(family, one, adjusted) for one in (seed, *nulls, *members)]
    copies = [one for one in found if one.role == "null"]
    check: Check = "incomplete" if any(one.word == "undecided" for one in copies) or not copies else "passed"
    if any(one.word in CONFIRMED for one in copies):
        check = "failed"
    sigma = {name: spread.sigma for name, spread in family.spreads.items()}
    complete = all(one.is_complete for one in samples)
    return Verdicts(found, len(members) * len(family.noisy), margin, sigma, check, complete)


def noise_of(samples: Sequence[Sample], objectives: Sequence[Objective]) -> dict[str, Spread]:
    """The spread of each objective that varies over the trainings of some program.

    Pooled over the seed and its null copies, which are one program: a member that trains unreliably does not widen the margin
    that it is judged by. Where these do not vary, all programs count.
    """
    found = {}
    for objective in objectives:
        values = {one.id: one.of(objective.name) for one in samples}
        everybody = pooled_spread(values.values())
        if everybody is not None and everybody.sigma > 0:
            same = pooled_spread(values[one.id] for one in samples if one.role != "member")
            found[objective.name] = same if same and same.sigma else everybody
    return found


def _compare(family: _Family, one: Sample) -> None:
    """The noisy objectives of one program, if enough is known of it and of the seed."""
    if not (one.is_complete and family.seed.is_complete) or min(len(one.values), len(family.seed.values)) < FEWEST:
        return
    for objective in family.noisy:
        a, b, spread = one.of(objective.name), family.seed.of(objective.name), family.spreads[objective.name]
        key, margin = (one.id, objective.name), family.margin * spread.sigma
        constant = not statistics.pvariance(a) and not statistics.pvariance(b)
        if constant:  # few trainings that agree by chance: the spread of all is known better
            family.differences[key] = _by_pooled_spread(a, b, spread)
            family.worse[key] = _no_worse_by_pooled_spread(a, b, margin, objective, spread)
        else:
            family.differences[key] = welch(a, b)
            family.worse[key] = no_worse(a, b, margin, larger_is_better=objective.direction == "max")


def _by_pooled_spread(a: Sequence[float], b: Sequence[float], spread: Spread) -> Difference:
    value, width = statistics.fmean(a) - statistics.fmean(b), band(spread, len(a), len(b))
    return Difference(value, value - width, value + width, p_value(value, spread, len(a), len(b)))


def _no_worse_by_pooled_spread(
    a: Sequence[float], b: Sequence[float], margin: float, objective: Objective, spread: Spread
) -> float:
    sign = 1.0 if objective.direction == "max" else -1.0
    shifted = sign * (statistics.fmean(a) - statistics.fmean(b)) + margin
    half = p_value(shifted, spread, len(a), len(b)) / 2
    return half if shifted > 0 else 1 - half


def _adjusted(family: _Family, members: Sequence[Sample]) -> dict[tuple[str, str], tuple[float, float]]:
    """(p of no difference, p of being worse) by Holm over all of them. What could not be compared counts with p = 1."""
    keys = [(one.id, objective.name) for one in members for objective in family.noisy]
    differences = holm([family.differences[key].p if key in family.differences else 1.0 for key in keys])
    worse = holm([family.worse.get(key, 1.0) for key in keys])
    return dict(zip(keys, zip(differences, worse, strict=True), strict=True))


def _verdict(family: _Family, one: Sample, adjusted: Mapping[tuple[str, str], tuple[float, float]]) -> Verdict:
    compared = {objective.name: _comparison(family, one, objective, adjusted) for objective in family.objectives}
    if one.role == "seed":
        return Verdict(one.id, one.role, None, "", len(one.values), tuple(one.failures), compared)
    word, text = _words(family, one, compared)
    return Verdict(one.id, one.role, word, text, len(one.values), tuple(one.failures), compared)


def _comparison(
    family: _Family, one: Sample, objective: Objective, adjusted: Mapping[tuple[str, str], tuple[float, float]]
) -> Comparison:
    name, seed = objective.name, family.seed
    mean = statistics.fmean(one.of(name)) if one.values else None
    validation = [values[name] for values in one.validation]
    shrinkage = one.search[name] - statistics.fmean(validation) if one.search and validation else None
    if one.role == "seed" or mean is None or not seed.values:
        return Comparison(mean, shrinkage=shrinkage)
    base = statistics.fmean(seed.of(name))
    difference = mean - base
    if name not in family.spreads:
        change = difference / abs(base) if base else math.copysign(math.inf, difference) if difference else 0.0
        return Comparison(mean, difference, difference, difference, change=_finite(change), shrinkage=shrinkage)
    if (found := family.differences.get((one.id, name))) is None:
        return Comparison(mean, difference, shrinkage=shrinkage)
    p, worse = adjusted[one.id, name]
    return Comparison(mean, found.value, found.low, found.high, found.p, p, worse, shrinkage=shrinkage)


def _finite(change: float) -> float:
    """JSON has no infinity: a change from 0 counts as a whole."""
    return change if math.isfinite(change) else math.copysign(1.0, change)


def _words(family: _Family, one: Sample, compared: Mapping[str, Comparison]) -> tuple[Word, str]:
    if reason := _undecided(family, one):
        return "undecided", f"undecided: {reason}"
    noisy = {o.name for o in family.noisy}
    better = [o.name for o in family.objectives if _is_better(o, compared[o.name], noisy)]
    worse = [o.name for o in family.objectives if _is_worse(o, compared[o.name], noisy)]
    proven = [name for name in noisy if _is_no_worse(compared[name])]
    unclear = [o.name for o in family.noisy if o.name not in (*better, *worse, *proven)]
    elsewhere = [f"worse on {', '.join(worse)}"] if worse else []
    elsewhere += [f"not shown to be no worse on {', '.join(unclear)}"] if unclear else []
    failed = len(one.failures)
    if failed > len(family.seed.failures):
        return "not_confirmed", f"not confirmed: {failed} of {one.planned} of its trainings failed"
    if any(name in noisy for name in better):
        others = "; ".join(elsewhere) or "no worse elsewhere"
        return "better", f"confirmed better on {', '.join(better)}; {others}"
    if better and all(name in proven for name in noisy):
        smaller = all(o.direction == "min" for o in family.objectives if o.name in better)
        text = f"confirmed no worse and {'smaller' if smaller else 'better'} on {', '.join(better)}"
        lost = [f"worse on {name}{' by less than the margin' if name in noisy else ''}" for name in worse]
        return "no_worse_and_smaller", "; ".join([text, *lost])
    what = "; ".join([*([f"better on {', '.join(better)}"] if better else []), *elsewhere])
    return "not_confirmed", f"not confirmed: {what}" if what else "not confirmed: no difference that would stand out"


def _undecided(family: _Family, one: Sample) -> str:
    """Why nothing can be concluded of a program; empty if something can."""
    for sample, whose in ((one, "its"), (family.seed, "the seed's")):
        made = len(sample.values) + len(sample.failures)
        if not sample.is_complete:
            return f"{made} of {whose} {sample.planned} trainings were made"
    if len(one.failures) > len(family.seed.failures):
        return ""
    for sample, whose in ((one, "its"), (family.seed, "the seed's")):
        if len(sample.values) < FEWEST and family.objectives:
            return f"{len(sample.values)} of {whose} trainings measured something, and {FEWEST} are needed"
    return ""


def _is_better(objective: Objective, found: Comparison, noisy: set[str]) -> bool:
    return _stands_out(objective, found, noisy) and objective.better(found.difference or 0.0, 0.0)


def _is_worse(objective: Objective, found: Comparison, noisy: set[str]) -> bool:
    return _stands_out(objective, found, noisy) and objective.better(0.0, found.difference or 0.0)


def _stands_out(objective: Objective, found: Comparison, noisy: set[str]) -> bool:
    """Is there a difference, in any direction?"""
    if objective.name in noisy:
        return found.adjusted_p is not None and found.adjusted_p < LEVEL
    return found.change is not None and abs(found.change) >= EXACT_CHANGE


def _is_no_worse(found: Comparison) -> bool:
    return found.no_worse_p is not None and found.no_worse_p < LEVEL
