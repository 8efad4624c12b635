"""The search settings of a run: sizes, rates, schedule and strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.operators import OPERATORS


@dataclass(frozen=True)
class SearchSettings:
    """Sizes, rates, schedule and strategy of the search. The default sizes and rates are the paper's."""

    generations: int = 30
    """Generations after the first population."""
    first_population: int = 32
    """Candidates of the first population: copies of the seed, each changed by one mutation."""
    population: int = 8
    """Offspring of each generation."""
    elites: int = 44
    """How many individuals SPEA-2 keeps as elites."""
    eot_elites: int = 10
    """How many of the elites serve as examples for Evolution of Thought."""
    p_mate: float = 0.35
    """Probability that a pair of parents is mated. Used where `operators` is empty."""
    p_mutate: float = 0.8
    """Probability that a candidate is mutated. Used where `operators` is empty."""
    p_eot: float = 0.25
    """Probability that a mutation is an Evolution of Thought. Used where `operators` is empty."""
    operators: Mapping[str, float] = field(
        default_factory=lambda: {name: operator.share for name, operator in OPERATORS.items() if operator.share}
    )
    """Which operators make candidates after the first population, which is mutated, with their shares before any result is known.
    Empty: the paper's three rates."""
    roles: bool = True
    """Whether prompts may give the model a role to play."""
    spread_first_population: bool = True
    """Whether the first population changes every block in turn; false: any block each time, as in the paper."""
    strategy: Literal["evolution", "random-sampling", "best-of-n"] = "evolution"
    """`evolution`, or a control: `random-sampling` makes independent mutations of the seed, `best-of-n` uses only
    the best individual so far as a parent."""
    recent: int = 8
    """How many of the last evaluations a prompt shows."""
    schedule: Literal["generational", "steady"] = "steady"
    """`steady` keeps every slot busy; `generational` waits for each generation, as the paper does, and is repeatable exactly."""

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        for name in ("p_mate", "p_mutate", "p_eot"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1")
        for name in ("first_population", "population", "elites", "eot_elites"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.generations < 0 or self.recent < 0:
            raise ValueError("generations and recent cannot be negative")
        if unknown := sorted(self.operators.keys() - OPERATORS.keys()):
            raise ValueError(f"there is no operator {unknown[0]!r}; known: {', '.join(OPERATORS)}")
        if self.operators and not (min(self.operators.values()) >= 0 and 0 < sum(self.operators.values()) < float("inf")):
            raise ValueError("the shares of operators are finite and not negative, and some are above 0")

    @property
    def candidates(self) -> int:
        """Candidates of a whole run. `generational` proposes a few less, because some parents are neither mated nor mutated."""
        return self.first_population + self.generations * self.population

    @property
    def stages(self) -> int:
        """How many generations the journal will count. Only `generational` counts the first population, as number 0."""
        return self.generations if self.schedule == "generational" else self.candidates // self.population
