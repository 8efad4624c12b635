"""Make the search bolder when it stagnates: bolder prompts, higher temperatures, dominated parents, step by step.

A search stagnates when its worth has not grown while `plateau.children` candidates settled. Each further such number
raises the level by one; any growth brings it back to 0. The level depends on the results in their order alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agent.population.candidate import Individual, Recipe

BOLD = ("significant", "uncommon")
"""The directives that are drawn more often."""
_SHARE = 0.25
"""Share of the draws that become bolder, for each level."""
_HEAT = 0.25
"""By how much each level raises the temperature, as a share of it."""
_SOME = 128
"""How many of all individuals are considered when older or dominated parents are chosen."""


@dataclass(frozen=True)
class PlateauSettings:
    """What happens when the worth of the front does not grow any more."""

    children: int = 24
    """The search becomes bolder after this many candidates without growth of the worth. 0: never."""
    levels: int = 3
    """How many times it may become bolder still, after as many candidates again."""

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if self.children < 0 or self.levels < 1:
            raise ValueError("children cannot be negative, and there is at least one level")


class Plateau:
    """Knows the current level, and makes choices bolder accordingly."""

    def __init__(self, settings: PlateauSettings) -> None:
        self._settings = settings
        self._still = 0
        self.level = 0

    def see(self, grown: bool) -> str | None:
        """Count a settled candidate. Returns a sentence if that changed the level, else None."""
        before = self.level
        self._still = 0 if grown else self._still + 1
        if self._settings.children:
            self.level = min(self._still // self._settings.children, self._settings.levels)
        if self.level > before:
            return f"the worth of the front has not grown over {self._still} candidates: bolder prompts, other parents"
        if self.level < before:
            return "the worth of the front grew: back to normal"
        return None

    def is_bolder(self, rng: random.Random) -> bool:
        """Decide at random, more often on higher levels, whether to make a choice bolder."""
        return self.level > 0 and rng.random() < _SHARE * self.level

    def parents(self, rng: random.Random, selected: Sequence[Individual], everyone: Sequence[Individual]) -> Sequence[Individual]:
        """The selected parents, or at random some that were not selected: older and dominated individuals."""
        if not self.is_bolder(rng):
            return selected
        chosen = {one.id for one in selected}
        some = everyone if len(everyone) <= _SOME else rng.sample(everyone, _SOME)
        return [one for one in some if one.id not in chosen] or selected

    def hotter(self, recipe: Recipe) -> Recipe:
        """The recipe with a temperature that rises with the level."""
        return recipe.hotter(1 + _HEAT * self.level) if self.level else recipe
