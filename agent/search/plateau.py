"""When the search stands still: bolder prompts, higher temperatures, parents off the beaten front, step by step.

A search stands still when its hypervolume has not grown while `patience` children settled. Each further `patience` raises the
level by one; one growth brings it back to the usual. No chance and no I/O: the level follows from the results in their order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.population.candidate import Individual, Recipe

BOLD = ("significant", "uncommon")
"""The directives that are asked for more often."""
_SHARE = 0.25
"""Of the draws that a level turns to something bolder, for each level."""
_HEAT = 0.25
"""By which a level raises the temperature, as a share of it."""
_SOME = 128
"""Of all individuals, so many are looked at when parents are drawn from among them."""
_USUAL_TEMPERATURE, _HOTTEST = 1.0, 1.6
"""Where a run leaves the temperature to the provider, 1.0 is what most of them use."""


@dataclass(frozen=True)
class PlateauSettings:
    """How standing still is met."""

    children: int = 24
    """So many children may settle without growth of the hypervolume; 0: nothing is ever changed."""
    levels: int = 3

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
        """One settled child; a sentence if that changed the level."""
        before = self.level
        self._still = 0 if grown else self._still + 1
        if self._patience.children:
            self.level = min(self._still // self._patience.children, self._patience.levels)
        if self.level > before:
            return f"the hypervolume has not grown over {self._still} children: bolder prompts, other parents"
        if self.level < before:
            return "the hypervolume grew: back to the usual draws"
        return None

    def turns(self, rng: random.Random) -> bool:
        """Is this draw turned to something bolder?"""
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
