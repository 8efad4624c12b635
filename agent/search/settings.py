"""The search settings of a run: sizes, rates, schedule and strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from agent.operators import OPERATORS
from agent.search.first import first_size
from agent.search.shares import default_shares

Auto = Literal["auto"]


@dataclass(frozen=True)
class SearchSettings:
    """Sizes, rates, schedule and strategy of the search."""

    generations: int = 30
    """Generations after the first population."""
    first_population: int | Auto = "auto"
    """Candidates of the first population, children of the seed. `auto`: 15 % of what the limits allow, at least 4 of a dozen and
    at most 8; with the model `offline` alone a half, at most 32. The start of a run fixes it."""
    first_operator: Literal["auto", "rewrite", "mutate"] = "auto"
    """Which operator makes them. `auto`: `rewrite`, each with another directive; with the model `offline` alone `mutate`. An
    operator without a share makes none. Where `operators` is empty it is `mutate`."""
    population: int = 8
    """Offspring of each generation."""
    elites: int = 44
    """How many individuals SPEA-2 keeps as elites."""
    eot_elites: int = 10
    """How many individuals serve as examples for Evolution of Thought at most."""
    p_mate: float = 0.35
    """Probability that a pair of parents is mated. Used where `operators` is empty."""
    p_mutate: float = 0.8
    """Probability that a candidate is mutated. Used where `operators` is empty."""
    p_eot: float = 0.25
    """Probability that a mutation is an Evolution of Thought. Used where `operators` is empty."""
    operators: Mapping[str, float] | Auto = "auto"
    """Which operators make candidates, with their shares. `contest.operators = "uniform"` keeps the shares; a bandit starts
    with them and moves as results come. `auto`: shares for models that read, or those for `offline` alone. Empty: the paper's
    three rates."""
    parents: Literal["greedy-front", "epsilon-front", "nsga2", "islands"] = "greedy-front"
    """How parents are chosen. `greedy-front`: from the front, the newest finds first, then those worth most that have had few
    children; `epsilon-front`: any of the front; `nsga2`: the paper's selection; `islands`: as `greedy-front` in each of four
    families that share what was learned."""
    breadth: float = 0.05
    """Share of the parents that are not from the front. Unused by `nsga2`."""
    roles: bool = True
    """Whether prompts may give the model a role to play."""
    spread_first_population: bool = True
    """Whether first mutations change every block in turn; false: any block each time, as in the paper."""
    strategy: Literal["evolution", "random-sampling", "best-of-n", "replicate"] = "evolution"
    """`evolution`, or a control. `best-of-n`: the only parent is the program that alone is worth most. `random-sampling`:
    independent changes of the seed; prompts show nothing of other candidates. `replicate`: the same prompt each time, a free
    rewrite of the seed."""
    recent: int = 8
    """Of how many of the last evaluations a prompt tells failures; those that were trained are chosen from all."""
    schedule: Literal["generational", "steady"] = "steady"
    """`steady` keeps every slot busy; `generational` waits for each generation, as the paper does, and is repeatable exactly."""

    __pydantic_config__ = {"extra": "forbid"}  # a class attribute, no field: the configuration refuses unknown keys

    def __post_init__(self) -> None:
        for name in ("p_mate", "p_mutate", "p_eot"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1")
        if not 0 <= self.breadth <= 1:
            raise ValueError("breadth is a share, from 0 to 1")
        for name in ("first_population", "population", "elites", "eot_elites"):
            if getattr(self, name) != "auto" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.generations < 0 or self.recent < 0:
            raise ValueError("generations and recent cannot be negative")
        if self.operators != "auto":
            self._check_shares(self.operators)

    @staticmethod
    def _check_shares(operators: Mapping[str, float]) -> None:
        if unknown := sorted(operators.keys() - OPERATORS.keys()):
            raise ValueError(f"there is no operator {unknown[0]!r}; known: {', '.join(OPERATORS)}")
        if operators and not (min(operators.values()) >= 0 and 0 < sum(operators.values()) < float("inf")):
            raise ValueError("the shares of operators are finite and not negative, and some are above 0")

    def for_run(self, children: int | None, *, reads: bool) -> SearchSettings:
        """The settings with every `auto` replaced. `children`: how many the limits allow, None: any number; `reads`: whether
        some model reads its prompt, as `offline` does not."""
        planned = self.generations * self.population
        expected = planned if children is None else min(children, planned or children)
        first = first_size(expected, reads=reads) if self.first_population == "auto" else self.first_population
        usual: Literal["rewrite", "mutate"] = "rewrite" if reads else "mutate"
        operator = usual if self.first_operator == "auto" else self.first_operator
        shares = default_shares(reads=reads) if self.operators == "auto" else self.operators
        return replace(self, first_population=first, first_operator=operator, operators=shares)

    @property
    def first(self) -> int:
        """Candidates of the first population; for `auto` what a run without limits and with a model that reads has."""
        if self.first_population == "auto":
            return first_size(self.generations * self.population, reads=True)
        return self.first_population

    @property
    def shares(self) -> Mapping[str, float]:
        """The share of each operator; for `auto` those for a model that reads. Empty: the paper's three rates."""
        return default_shares(reads=True) if self.operators == "auto" else self.operators

    @property
    def is_independent(self) -> bool:
        """Whether candidates know nothing of each other: a control that shows and learns nothing of other candidates."""
        return self.strategy in ("random-sampling", "replicate")

    @property
    def candidates(self) -> int:
        """Candidates of a whole run. `generational` proposes a few less, because some parents are neither mated nor mutated."""
        return self.first + self.generations * self.population

    def within(self, variants: int | None) -> SearchSettings:
        """The settings with as many generations as so many candidates fill, the last one perhaps in part. None: any number."""
        if variants is None:
            return self
        possible = max(0, -(-(variants - self.first) // self.population))
        return replace(self, first_population=self.first, generations=min(self.generations, possible))

    @property
    def stages(self) -> int:
        """How many generations the journal will count. Only `generational` counts the first population, as number 0."""
        return self.generations if self.schedule == "generational" else self.candidates // self.population
