"""Choose the parents of the next candidate: exploitation and breadth on purpose.

    nsga2          the paper's: any of the NSGA-II selection, dominated or not
    epsilon-front  any of the front; one in `1 / breadth` draws from elsewhere
    greedy-front   some draws go to an end of the front, the member best in one objective; some of the others to a new
                   find: a member of the front with fewer than `FEW` children, the one worth most first; the rest to members of
                   the front, by what each is worth alone and the fewer children it has had; one in `1 / breadth` from elsewhere
    islands        as greedy-front, within one of `ISLANDS` families in turn: the descendants of one child of the seed

Elsewhere are programs that chance may have kept from the front: none of its members is better than them beyond noise. Members
of the front are ranked by `Merit`, which discounts luck.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Individual
from agent.search.merit import Merit
from agent.search.recipes import RecipeSampler
from agent.search.settings import SearchSettings

FEW = 3
"""A new find is preferred until it has so many children."""
ISLANDS = 4
_ENDS = 0.1
"""Share of the draws from the front that go to its end that is best in one objective: worth alone favours its middle."""
_FRESH = 0.15
"""Share of the draws from the front that go to a new find, if there is one."""
_POWER = 60.0
"""How strongly what a program is worth alone weighs among the front."""
_REAL = {"sigma": 2.0, "ratio": 0.2, "error": 0.2, "step": 1.0}
"""Units by kind of objective: a difference of at least so much is likely real."""


class Parents:
    """Draws parents, partners and exemplars from an archive. All chance comes from the sampler's generator."""

    def __init__(self, archive: Archive, settings: SearchSettings, sampler: RecipeSampler) -> None:
        self.archive, self._settings, self._sampler = archive, settings, sampler
        self._revision = -1
        """Of the archive, as it was taken in last."""
        self._merit = Merit(archive)
        self._front: list[Individual] = [archive.seed]
        self._families: dict[str, int] = {SEED_ID: -1}
        self._roots = 0
        """Children of the seed so far, each of which founds a family or joins one in turn."""

    def draw(self, taken: int = 0) -> Individual:
        """A parent. `taken`: how many were drawn before in this run, for policies that take turns."""
        self._refresh()
        pool = self.archive.everyone
        if self._settings.parents == "islands":
            turn = taken % ISLANDS
            pool = [one for one in pool if self._families[one.id] == turn] or [self.archive.seed]
        return self._from(pool)

    def best(self) -> Individual:
        """The program that alone is worth most, luck discounted; of equal ones the first."""
        self._refresh()
        return self._merit.best(self.archive.everyone)

    def partner(self, parent: Individual) -> Individual:
        """A second parent: another member of the front, else the same again."""
        self._refresh()
        others = [one for one in self._front if one.id != parent.id and one.id != SEED_ID]
        return self._sampler.rng.choice(others) if others else parent

    def exemplars(self) -> list[Individual]:
        """Members of the front whose change against the seed is likely real, those worth most alone first."""
        self._refresh()
        real = [one for one in self._front if one.id != SEED_ID and self._is_real(one)]
        return sorted(real, key=self._merit.alone, reverse=True)[: self._settings.eot_elites]

    def _from(self, pool: Sequence[Individual]) -> Individual:
        rng, settings = self._sampler.rng, self._settings
        front = self._front if pool is self.archive.everyone else self._merit.front(pool)
        if rng.random() < settings.breadth * (1 + self._sampler.plateau.level):
            ids = {one.id for one in front}
            return rng.choice([one for one in pool if one.id not in ids and self._may_belong(one, front)] or front)
        if settings.parents == "epsilon-front":
            return rng.choice(front)
        if rng.random() < _ENDS:
            objective = rng.randrange(len(self.archive.objectives))
            return max(front, key=lambda one: self._merit.units(one)[objective])
        children = self._sampler.offspring
        fresh = [one for one in front if one.id != SEED_ID and children[one.id] < FEW]
        if fresh and rng.random() < _FRESH:
            return self._merit.best(fresh)
        alone = [self._merit.alone(one) for one in front]
        best = max(alone)  # powers of shares of it stay finite
        share = [each / best if best else 1.0 for each in alone]
        return rng.choices(front, [each**_POWER / (1 + children[one.id]) for one, each in zip(front, share, strict=True)])[0]

    def _refresh(self) -> None:
        """Take in what was added to the archive, or trained again, since."""
        if self._revision == self.archive.revision:
            return
        self._revision, self._merit = self.archive.revision, Merit(self.archive)
        self._front = self._merit.front(self.archive.everyone)
        for one in self.archive.individuals.values():  # those that may lead no more too: others descend from them
            if one.id not in self._families:
                family = self._families[one.candidate.parents[0]]
                self._families[one.id] = self._roots % ISLANDS if family < 0 else family
                self._roots += family < 0

    def _may_belong(self, one: Individual, front: Sequence[Individual]) -> bool:
        """Whether no member of the front is better in every noisy objective beyond chance and no worse in the exact ones."""
        mine, bands = self._merit.units(one), [_REAL[axis.kind] for axis in self.archive.scale.axes]
        for other in front:
            behind = [b - a for a, b in zip(mine, self._merit.units(other), strict=True)]
            if min(behind) >= 0 and any(units > band for units, band in zip(behind, bands, strict=True)):
                return False
        return True

    def _is_real(self, one: Individual) -> bool:
        pairs = zip(self.archive.scale.axes, self._merit.units(one), strict=True)
        return any(value >= _REAL[axis.kind] for axis, value in pairs)
