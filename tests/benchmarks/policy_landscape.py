"""Landscapes of programs, fitted to the children that searches of one task trained.

`fit`: five searches of an earlier version, with its prompts (`policy_recorded.csv`). `fit_present`: rewrites and Evolutions of
Thought as the present prompts get them (`readers_recorded.csv`), everything else as in the first.

The task: a small convolutional net, 6,000 Fashion-MNIST images, 4,000 to select by; the same strong reading model answered all
searches. A program has an accuracy, in sigmas of the noise above the seed's, and a size, in steps of 10 % fewer parameters.

- *Quality* is accuracy + `trade` x size: what a program would reach at the seed's size. `trade` is chosen so that the size
  that a rewriting happens to choose says nothing about its quality. Beyond `SMALLEST` steps accuracy falls faster.
- Each block's version has a *strength*. Strengths add up and saturate: quality = C (1 - exp(-sum / C)), C = `CEILING`. So the
  same change gains less in a better program. Programs whose parts come from several parents have an interaction on top.
- `mutate`: strength and size of the new version as the recorded mutations of that block have them.
- `rewrite`: quality = level of the reader + slope x the parent's quality + spread; size between the parent's and a typical one.
  Of the seed, in the present landscape: a level of its own, since what it is rewritten to has little of it left.
- `eot`: a change of the parent of recorded strength, its size nearly kept.
- `mate`: the better of two versions, with spread. `splice`, `assemble`: versions as they are. `combine`: a share of all that
  its sources have better, block by block, with the same interaction; of a net that is built another way the optimizer alone.
- `edit`: a small change of a whole program, as OpenEvolve asks for; as its first five children have it, whose parent is the seed.

Accuracy is measured with noise of one sigma, size exactly. Readers differ: each simulated run has its own level.

Weak points. One task, one reading model, single runs, 162 children: 42 rewrites, 6 Evolutions of Thought, 11 recombinations.
The ceiling, what happens below a twentieth of the seed's parameters, and what a search of 300 or 3,000 children finds at all
are assumptions: no recorded search is longer than 40. What prompts show (lessons, siblings) has no effect of its own.
"""

from __future__ import annotations

import csv
import math
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).with_name("policy_recorded.csv")
READERS = Path(__file__).with_name("readers_recorded.csv")
SIGMA, ACCURACY, PARAMETERS = 0.0036, 0.84325, 134_894
"""The seed's, as `policy_recorded.csv` has them."""
STEP = math.log(1.1)
CEILING = 18.0
"""Quality that no program exceeds. The best single change of each block, put together by hand, measured 12.2 (four trainings);
the sum of these changes, luck taken off, is about 22 and saturates to 12.7 with this ceiling."""
SMALLEST, STEEP = 28.0, 0.05
"""Beyond so many steps, each step costs quadratically more accuracy. Recorded programs reach 31 steps."""
LARGEST = math.log(PARAMETERS / 200_000) / STEP
"""The task refuses programs with more parameters."""


@dataclass(frozen=True)
class Spread:
    """A normal distribution."""

    mean: float
    sd: float

    def draw(self, rng: random.Random) -> float:
        return rng.gauss(self.mean, self.sd)

    @classmethod
    def of(cls, values, noise=0.0, least=0.0):
        """Of measured values; the variance of the measurement is taken off."""
        variance = np.var(values, ddof=1) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), math.sqrt(max(least**2, float(variance) - noise)))


@dataclass(frozen=True)
class Fit:
    """All parameters of the landscape."""

    trade: float
    rewrite_level: Spread
    """Over readers."""
    rewrite_slope: float
    rewrite_slope_error: float
    rewrite_spread: float
    rewrite_size: Spread
    """Over readers."""
    rewrite_size_slope: float
    rewrite_size_spread: float
    blocks: dict[str, tuple[Spread, Spread]]
    """Strength and steps of size that the first mutation of each block brings."""
    eot: Spread
    eot_size: Spread
    interaction: float
    """Of strength, where parts of several programs meet."""
    combine: Spread = Spread(0.8, 0.3)
    """Share of its sources' gains that a model brings together. An assumption: no combination was recorded."""
    edit: Spread = Spread(0, 0)
    edit_size: Spread = Spread(0, 0)
    ceiling: float = CEILING
    failures: float = 0.02
    """Share of answers that do not train. None of the 162 did; a strong reader fails in fewer than 2 %."""
    smallest: float = SMALLEST
    first: Spread | None = None
    """Quality of a rewritten seed; None: as of any other parent."""
    first_size: Spread | None = None
    rewrite_size_effect: float = 0.0
    """By how much a step of the parent's size changes the quality of a rewriting."""

    def strength(self, quality: float) -> float:
        if quality <= 0:
            return quality
        near = self.ceiling - 1  # beyond it the remaining step is approached, never reached
        quality = quality if quality < near else self.ceiling - math.exp(near - quality)
        return -self.ceiling * math.log(1 - quality / self.ceiling)

    def quality(self, strength: float) -> float:
        return self.ceiling * (1 - math.exp(-strength / self.ceiling)) if strength > 0 else strength

    def accuracy(self, quality: float, size: float) -> float:
        """In sigmas above the seed's."""
        return quality - self.trade * size - STEEP * max(0.0, size - self.smallest) ** 2


@dataclass
class Child:
    search: str
    id: str
    operator: str
    parents: list[Child]
    blocks: str
    accuracy: float
    size: float

    def quality(self, trade):
        return self.accuracy + trade * self.size


def recorded(path=RECORDED):
    """The trained children of each recorded search, in order; accuracy in sigmas, size in steps."""
    searches, known = defaultdict(list), {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if not row["accuracy"]:
                continue
            name = row["search"]
            parents = [known.get((name, id), Child(name, id, "seed", [], "", 0.0, 0.0)) for id in row["parents"].split()]
            accuracy = (float(row["accuracy"]) - ACCURACY) / SIGMA
            size = math.log(PARAMETERS / float(row["parameters"])) / STEP
            child = Child(name, row["id"], row["operator"], parents, row.get("blocks", ""), accuracy, size)
            searches[name].append(child)
            known[name, child.id] = child
    return dict(searches)


def regress(rows, target, feature):
    """(slope, its standard error, level of each search, residuals): one slope, a level for each search."""
    searches = sorted({row.search for row in rows})
    matrix = np.array([[feature(row), *[float(row.search == name) for name in searches]] for row in rows])
    wanted = np.array([target(row) for row in rows])
    solution = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    residuals = wanted - matrix @ solution
    spread = math.sqrt(residuals @ residuals / (len(rows) - len(solution)))
    error = spread * math.sqrt(np.linalg.inv(matrix.T @ matrix)[0, 0])
    return solution[0], error, solution[1:], spread, residuals


def fit():
    """The landscape that explains the recorded children."""
    children = [child for search in recorded().values() for child in search]
    rewrites = [child for child in children if child.operator == "rewrite"]

    def of_rewrites(trade):
        return regress(rewrites, lambda c: c.quality(trade), lambda c: c.parents[0].quality(trade))

    sizes = [child.size for child in rewrites]
    trades = [n / 100 for n in range(10, 51)]
    trade = min(trades, key=lambda t: abs(np.corrcoef(of_rewrites(t)[4], sizes)[0, 1]))
    slope, error, levels, spread, _ = of_rewrites(trade)
    size_slope, _, size_levels, size_spread, _ = regress(rewrites, lambda c: c.size, lambda c: c.parents[0].size)
    found = Fit(
        trade=trade,
        rewrite_level=Spread.of(levels),
        rewrite_slope=float(slope),
        rewrite_slope_error=float(error),
        rewrite_spread=math.sqrt(spread**2 - 1),
        rewrite_size=Spread.of(size_levels),
        rewrite_size_slope=float(size_slope),
        rewrite_size_spread=size_spread,
        blocks=_blocks(children, trade),
        eot=Spread(0, 0),
        eot_size=Spread(0, 0),
        interaction=_interaction(children, trade),
    )
    return replace(found, **_eot(children, found), **_edit(recorded()["OpenEvolve 0.4.1 defaults"][:5], found))


SMALLEST_NOW, CEILING_NOW = 40.0, 32.0
"""Of the present landscape. Recorded programs reach 53 steps, those on the front of a search 44, and a quality of 27."""


def fit_present():
    """The landscape of the present prompts: how a strong model rewrites the seed, and what it makes of its own programs."""
    children = [child for search in recorded(READERS).values() for child in search]
    rewrites = [child for child in children if child.operator == "rewrite"]
    first = [child for child in rewrites if child.parents[0].operator == "seed"]
    later = [child for child in rewrites if child.parents[0].operator != "seed"]

    def of_later(trade):
        """(weights of the parent's quality, its size and 1; residuals)"""
        matrix = np.array([[child.parents[0].quality(trade), child.parents[0].size, 1.0] for child in later])
        wanted = np.array([child.quality(trade) for child in later])
        weights = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
        return weights, wanted - matrix @ weights

    def tells(trade):
        """How much the size that was chosen says of the quality."""
        qualities = [child.quality(trade) for child in first]
        residuals = [*(np.array(qualities) - np.mean(qualities)), *of_later(trade)[1]]
        return abs(np.corrcoef(residuals, [child.size for child in [*first, *later]])[0, 1])

    trade = min((n / 100 for n in range(10, 61)), key=tells)
    (slope, effect, level), residuals = of_later(trade)
    by_search = defaultdict(list)
    for child, residual in zip(later, residuals, strict=True):
        by_search[child.search].append(residual)
    within = float(np.mean([np.var(ones, ddof=1) / len(ones) for ones in by_search.values() if len(ones) > 1]))
    levels = Spread.of([float(np.mean(ones)) for ones in by_search.values()], within)
    sizes = np.array([[child.parents[0].size, 1.0] for child in later])
    size_weights = np.linalg.lstsq(sizes, [child.size for child in later], rcond=None)[0]
    size_residuals = np.array([child.size for child in later]) - sizes @ size_weights
    thoughts = [child for child in children if child.operator == "eot"]
    gains = [child.quality(trade) - child.parents[0].quality(trade) for child in thoughts]
    return replace(
        fit(),
        trade=trade,
        smallest=SMALLEST_NOW,
        ceiling=CEILING_NOW,
        first=Spread.of([child.quality(trade) for child in first], 1.0),
        first_size=Spread.of([child.size for child in first]),
        rewrite_level=Spread(float(level), levels.sd),
        rewrite_slope=float(slope),
        rewrite_size_effect=float(effect),
        rewrite_spread=math.sqrt(max(0.0, float(np.var(residuals, ddof=3)) - 1 - slope**2)),
        rewrite_size=Spread(float(size_weights[1]), 0.0),
        rewrite_size_slope=float(size_weights[0]),
        rewrite_size_spread=float(np.std(size_residuals, ddof=2)),
        eot=Spread.of(gains, 2.0, 1.0),
        eot_size=Spread.of([child.size - child.parents[0].size for child in thoughts]),
    )


def _blocks(children, trade):
    first = [child for child in children if child.operator == "mutate" and child.parents[0].operator == "seed"]
    by_block = defaultdict(list)
    for child in first:
        by_block[child.blocks].append(child)
    return {
        block: (Spread.of([c.quality(trade) for c in ones], 1.0, 0.3), Spread.of([c.size for c in ones]))
        for block, ones in by_block.items()
    }


def _interaction(children, trade):
    """Spread of what single changes of two parents bring together, beyond their sum."""
    singles = [c for c in children if c.operator in ("mate", "splice") and c.search == "defaults"]
    beyond = [c.quality(trade) - sum(p.quality(trade) for p in c.parents) for c in singles]
    return math.sqrt(max(1.0, np.mean(np.square(beyond)) - 3))  # three measurements


def _eot(children, found):
    thoughts = [c for c in children if c.operator == "eot"]
    before = [c.parents[0].quality(found.trade) for c in thoughts]
    left = [1 - max(0.0, b) / found.ceiling for b in before]
    gains = [(c.quality(found.trade) - b) / share for c, b, share in zip(thoughts, before, left, strict=True)]
    noise = float(np.mean([2 / share**2 for share in left]))
    return {
        "eot": Spread.of(gains, noise, 1.5),
        "eot_size": Spread.of([c.size - c.parents[0].size for c in thoughts]),
    }


def _edit(children, found):
    strengths = [found.strength(child.quality(found.trade)) for child in children]
    return {"edit": Spread.of(strengths, 2.0, 1.0), "edit_size": Spread.of([child.size for child in children])}
