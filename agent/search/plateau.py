"""What a search does when it stagnates: bolder prompts, higher temperatures, parents from beside the front, step by step.

A search stagnates when its worth has not grown while `plateau.children` candidates settled. Each further such number
raises the level by one; any growth brings it back to 0. The level depends on the results in their order alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.population.candidate import Individual, Recipe

BOLD = ("significant", "uncommon")
"""The directives that are drawn more often."""
_SHARE = 0.25
"""Share of the draws that become bolder, for each level."""
_HEAT = 0.25
"""By how much each level raises the temperature, as a share of it."""
_SOME = 128
"""How many of all individuals are looked at when parents are drawn from beside the front."""
_USUAL_TEMPERATURE, _HOTTEST = 1.0, 1.6
"""Where a run leaves the temperature to the provider, 1.0 is what most of them use."""


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
    def __init__(self, patience: PlateauSettings) -> None:
        self._patience = patience
        self._still = 0
        self.level = 0

    def see(self, grown: bool) -> str | None:
        """One candidate has settled; returns a sentence if that changed the level."""
        before = self.level
        self._still = 0 if grown else self._still + 1
        if self._patience.children:
            self.level = min(self._still // self._patience.children, self._patience.levels)
        if self.level > before:
            return f"the worth of the front has not grown over {self._still} candidates: bolder prompts, other parents"
        if self.level < before:
            return "the worth of the front grew: back to the usual draws"
        return None

    def turns(self, rng: random.Random) -> bool:
        """Should this draw become bolder?"""
        return self.level > 0 and rng.random() < _SHARE * self.level

    def parents(self, rng: random.Random, usual: Sequence[Individual], everyone: Sequence[Individual]) -> Sequence[Individual]:
        """The usual ones, or some that the usual selection passes by: older and dominated ones."""
        if not self.turns(rng):
            return usual
        chosen = {one.id for one in usual}
        some = everyone if len(everyone) <= _SOME else rng.sample(everyone, _SOME)
        return [one for one in some if one.id not in chosen] or usual

    def heated(self, recipe: Recipe) -> Recipe:
        if not self.level:
            return recipe
        usual = _USUAL_TEMPERATURE if recipe.temperature is None else recipe.temperature
        return replace(recipe, temperature=round(min(max(usual, _HOTTEST), usual * (1 + _HEAT * self.level)), 3))
