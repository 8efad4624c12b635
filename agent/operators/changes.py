"""Measured changes: what each individual changed of another program, what that brought, and which sets are worth most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agent.core.noise import SAME, STEP, Noise
from agent.core.objectives import Objective
from agent.core.text import in_sigmas
from agent.genome import Genome, changed_blocks
from agent.population.candidate import SEED_ID, Individual, Recipe

BEYOND = 2.0
"""A difference counts as a gain beyond the noise from this many standard errors on. This decides what is worth a training, and
claims nothing: `Noise.judge`, which does, asks for more."""


@dataclass(frozen=True)
class Change:
    """What `giver` changed of `before`, an ancestor of it, and what that brought."""

    giver: Individual
    before: Individual
    blocks: tuple[str, ...]
    """The blocks that mean something else than in `before`, or are new."""
    gains: Mapping[str, float] = field(hash=False)
    """By objective in units of the noise, positive for the better (see `Noise.gain`)."""
    value: float
    """The gains together, what the noise may have added taken off."""


@dataclass(frozen=True)
class Measured:
    """Everything that was measured, and the units in which gains count."""

    individuals: Mapping[str, Individual]
    """By id, in the order in which they were measured, the seed first."""
    objectives: Sequence[Objective]
    noise: Noise

    def parent(self, one: Individual) -> Individual | None:
        """The individual whose program was edited; None for the seed, and if it is not known."""
        parents = one.candidate.parents
        return self.individuals.get(parents[0]) if parents else None

    def gains(self, one: Individual, before: Individual) -> dict[str, float]:
        """What `one` is better than `before`, by objective in units of the noise."""
        start = self.noise.mean_of_seed(before.fitness) if before.id == SEED_ID else before.fitness
        return {o.name: self.noise.gain(o, one.fitness[o.name] - start[o.name], before.fitness[o.name]) for o in self.objectives}

    def value(self, one: Individual, before: Individual) -> float:
        """The gains together, each with what the noise may have added taken off; 0 if they are no gain beyond the noise.

        They are one if an objective is better beyond the noise, no noisy one is worse beyond it, and the sum is positive. Where
        no noise was measured, none may be worse: a fair price cannot be told.
        Of a noisy gain g with the standard error e, g - e * e / g is expected to remain (James and Stein 1961).
        """
        total, better, is_known = 0.0, False, any(self.noise.sigma.values())
        for name, gain in self.gains(one, before).items():
            if not self.noise.sigma[name]:
                same = abs(gain) < math.log(1 + SAME) / STEP
                if gain < 0 and not same and not is_known:
                    return 0.0
                total, better = total + (0.0 if same else gain), better or (gain > 0 and not same)
                continue
            error = self._error(one, before)
            if gain <= -BEYOND * error:
                return 0.0
            better = better or gain >= BEYOND * error
            total += math.copysign(max(0.0, abs(gain) - error * error / abs(gain)), gain) if gain else 0.0
        return max(0.0, total) if better else 0.0

    def _error(self, one: Individual, before: Individual) -> float:
        """The standard error of a difference in sigmas."""
        against = self.noise.trainings if before.id == SEED_ID else before.trainings
        return math.sqrt(1 / one.trainings + 1 / max(1, against))

    def change(self, giver: Individual, before: Individual) -> Change | None:
        """What an individual changed of an ancestor; None if that is no gain beyond the noise."""
        if not (value := self.value(giver, before)):
            return None
        live = {block.name for block in giver.genome.live_blocks}
        blocks = tuple(name for name in changed_blocks(before.genome, giver.genome) if name in live)
        return Change(giver, before, blocks, self.gains(giver, before), value) if blocks else None

    def own_changes(self) -> list[Change]:
        """What each individual changed of its first parent, as far as it is a gain beyond the noise; the largest first.

        One that may lead no more gives nothing.
        """
        pairs = [(one, parent) for one in self.individuals.values() if not one.fault and (parent := self.parent(one))]
        gained = sorted(((self.value(*pair), pair) for pair in pairs), key=lambda each: -each[0])
        return [change for value, pair in gained if value and (change := self.change(*pair))]

    def origin(self, giver: Individual, base: Individual) -> Individual | None:
        """The nearest ancestor of the giver in which all that the giver changed of it stands as it stands in `base`.

        None if there is none. What the giver changed since then fits into `base`. If its parent had changed one of these blocks
        already, it is an ancestor of that parent: the parent's change, and its gain, come along.
        """
        before = self.parent(giver)
        while before and {*_differences(before.genome, giver.genome)} & {*_differences(before.genome, base.genome)}:
            before = self.parent(before)
        return before


def best_sets(changes: Sequence[Change], fewest: int, fit: Callable[[Change, Change], bool]) -> list[tuple[Change, ...]]:
    """The sets of at least `fewest` changes of which any two fit together, those of the largest value first.

    Takes time that doubles with each change.
    """
    sets: list[tuple[Change, ...]] = [()]
    for change in changes:
        sets += [(*some, change) for some in sets if all(fit(other, change) for other in some)]
    large = [some for some in sets if len(some) >= fewest]
    return sorted(large, key=lambda some: -sum(change.value for change in some))


def apart(a: Change, b: Change) -> bool:
    """Whether two changes have no block in common."""
    return not {*a.blocks} & {*b.blocks}


def distinct(changes: Iterable[Change], most: int) -> list[Change]:
    """The first `most` changes, of several of the same blocks the first alone."""
    firsts: dict[frozenset[str], Change] = {}
    for change in changes:
        firsts.setdefault(frozenset(change.blocks), change)
    return [*firsts.values()][:most]


def sum_of_gains(changes: Iterable[Change], objectives: Sequence[Objective]) -> dict[str, float]:
    """By objective in units of the noise."""
    gains = [change.gains for change in changes]
    return {o.name: sum(each[o.name] for each in gains) for o in objectives}


def gains_in_words(gains: Mapping[str, float], objectives: Sequence[Objective], noise: Noise) -> str:
    """In sigmas, or as a share of the value before where there is no noise: `accuracy +9.1 sigma, parameters -12.0%`."""
    parts = []
    for o in objectives:
        up = gains[o.name] if o.direction == "max" else -gains[o.name]
        share = math.expm1(min(50.0, STEP * up))
        text = in_sigmas(up) if noise.sigma[o.name] else f"{share:+.1%}"
        parts.append(f"{o.name} {text if abs(up) >= 0.005 else 'same'}")
    return ", ".join(parts)


def expected_of(recipe: Recipe, measured: Measured) -> dict[str, float]:
    """What the changes that a recipe puts together would bring if their gains added up, by objective in units of the noise.

    A recipe that names blocks takes all that their givers have of them; one that names none shows what the givers changed of
    their parents, and of those that have blocks in common only the better ones count.
    """
    givers = [measured.individuals[id] for id in dict.fromkeys(recipe.sources)]
    if not recipe.blocks:
        own = [change for one in givers if (parent := measured.parent(one)) and (change := measured.change(one, parent))]
        best = best_sets(own, 1, apart)
        return sum_of_gains(best[0] if best else (), measured.objectives)
    base = measured.individuals[recipe.parents[0]]
    each = [measured.gains(giver, measured.origin(giver, base) or base) for giver in givers]
    return {o.name: sum(gains[o.name] for gains in each) for o in measured.objectives}


def _differences(a: Genome, b: Genome) -> Iterator[str]:
    """Yield the names of the blocks that only one of the programs has, or that mean something else in each."""
    yield from dict.fromkeys([*changed_blocks(a, b), *changed_blocks(b, a)])


def interaction(outcome: Individual, measured: Measured) -> str:
    """What was expected of changes put together and what came: `expected accuracy +9.1 sigma from 0003 and 0007 ...`.

    Empty for a candidate that puts none together.
    """
    recipe = next((one for one in outcome.candidate.recipes if one.sources), None)
    if recipe is None or any(id not in measured.individuals for id in (*recipe.parents, *recipe.sources)):
        return ""
    base, objectives, noise = measured.individuals[recipe.parents[0]], measured.objectives, measured.noise
    expected = gains_in_words(expected_of(recipe, measured), objectives, noise)
    came = gains_in_words(measured.gains(outcome, base), objectives, noise)
    givers = [*dict.fromkeys(recipe.sources)]
    named = " and ".join(filter(None, [", ".join(givers[:-1]), givers[-1]]))
    return f"expected {expected} from {named} together, came {came}"
