"""Which elites are trained again, and when: the front of a search holds its luckiest readings, not only its best programs.

Of many candidates with one reading each, the best reading is above its program's true value. So a share of the trainings goes to
elites with another training seed: an elite's fitness becomes the mean of its readings, and one that was only lucky falls.

    stake of an elite = worth of the front - its worth if the elite's noisy values were one standard error worse
    next: the elite with the largest stake

A standard error is sigma / sqrt(trainings), so a stake shrinks with each reading. What else was measured stands in where an elite
would fall: little is at stake for one with an equal beside it. Sigma is pooled over all that was trained more than once.

No I/O. The state depends on the results in their order alone, so that a resumed run makes the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.core.noise import Noise
from agent.core.objectives import Fitness
from agent.journal.events import EliteRetrained
from agent.population import selection
from agent.population.archive import Archive
from agent.population.candidate import Failure, Individual, Outcome

MOST, LEAST = 2.0, 0.25
"""How far the configured share is raised where every place on the front hangs on luck, and lowered where none does."""
HELD_A_SLOT = ("fit", "predict", "integrity", "score")
"""A candidate that failed at one of these stages was trained."""


@dataclass(frozen=True)
class RetrainingSettings:
    """How much of the search goes into training elites again. A fitness is the mean of all trainings of its program."""

    share: float = 0.1
    """Trainings of elites with other training seeds, as a share of the candidates' trainings. Up to twice as many where places on
    the front hang on luck, down to a quarter where the differences are large against the noise, and none where the noise is
    unmeasured or nothing varies. 0: never."""

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("share is a share, from 0 to 1")


@dataclass(frozen=True)
class _Stake:
    elite: Individual
    by_luck: float
    """Worth that the front loses if the elite was lucky by one standard error."""
    whole: float
    """Worth that it loses without the elite."""


class Retraining:
    """Counts the trainings of a search, decides which elites are due, and takes their readings in. Not thread-safe."""

    def __init__(self, archive: Archive, noise: Noise, settings: RetrainingSettings) -> None:
        """`noise`: as it was measured before the search; all 0 where it was not, and then nothing is ever due."""
        self.noise = self._first = noise
        """As it is known now, from all programs that were trained more than once."""
        self._archive, self._settings = archive, settings
        self._trained = self._read = 0
        self._nothing_due_at: tuple[int, int] | None = None

    def see(self, outcome: Outcome) -> None:
        """Count a candidate that has settled."""
        self._trained += isinstance(outcome, Individual) or (isinstance(outcome, Failure) and outcome.stage in HELD_A_SLOT)

    def due(self, under_way: Collection[str] = ()) -> list[Individual]:
        """The elites that are to be trained again now, the one with the largest stake first. `under_way`: ids of those that are.

        An elite is trained once at a time.
        """
        most = math.floor(MOST * self._settings.share * self._trained + 1e-9)
        moment = (most, self._read)
        open_share = most - self._read - len(under_way)
        if open_share < 1 or moment == self._nothing_due_at or not any(self.noise.sigma.values()):
            return []  # stakes are worked out only now and then: among ten thousand individuals that takes a while
        stakes = [one for one in self._stakes() if one.by_luck > 0]
        whole = sum(one.whole for one in stakes)
        hanging = min(1.0, sum(one.by_luck for one in stakes) / whole) if whole else 0.0
        share = self._settings.share * max(LEAST, MOST * hanging**2)
        count = math.floor(share * self._trained + 1e-9) - self._read - len(under_way)
        self._nothing_due_at = moment if count < 1 or not stakes else None
        ranked = sorted(stakes, key=lambda one: (-one.by_luck, one.elite.trainings, one.elite.id))
        return [one.elite for one in ranked if one.elite.id not in under_way][: max(0, count)]

    def take(self, reading: EliteRetrained) -> Individual:
        """Take a reading into the archive and into the noise; returns the individual as it is now."""
        self._read += 1
        known = self._archive.individuals[reading.id]
        individual = known.with_reading(reading.fitness, reading.reason)
        self._archive.replace(individual)
        seed = self._archive.seed.id
        others = (one.readings for id, one in self._archive.individuals.items() if id != seed)
        self.noise = self._first.pooled_with(readings for readings in others if readings)
        return individual

    def _stakes(self) -> list[_Stake]:
        """Of each member of the front but the seed, which was trained often before the search."""
        archive = self._archive
        front, worth = archive.front(), archive.worth()
        beaten = selection.front(_without(archive.everyone, {one.id for one in front}), archive.objectives)
        stakes = []
        for elite in front:
            if elite.id != archive.seed.id:
                others = [one.fitness for one in (*_without(front, {elite.id}), *beaten)]
                left, without = archive.scale.worth([*others, self._unlucky(elite)]), archive.scale.worth(others)
                stakes.append(_Stake(elite, worth - left, worth - without))
        return stakes

    def _unlucky(self, elite: Individual) -> Fitness:
        """Its fitness if every noisy value was one standard error worse."""
        errors = self.noise.error(elite.trainings)
        signs = {o.name: -1 if o.direction == "max" else 1 for o in self._archive.objectives}
        return Fitness({name: value + signs[name] * errors.get(name, 0.0) for name, value in elite.fitness.values.items()})


def _without(individuals: Sequence[Individual], ids: Collection[str]) -> list[Individual]:
    return [one for one in individuals if one.id not in ids]
