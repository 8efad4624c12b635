"""What an operator knows when it writes a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

from agent.core.objectives import Constraint, Noise, Objective
from agent.genome import Genome
from agent.llm import Message
from agent.population.archive import KnownPrograms
from agent.population.candidate import Candidate, Failure, Individual, Recipe, Variant


@dataclass(frozen=True)
class Brief:
    """What stays the same in every prompt of a run."""

    task: str
    """One or two sentences: what the model is for."""
    facts: Mapping[str, str]
    """What a researcher needs to decide, as label -> sentence: data, schedule, loss, limits, scoring, ..."""
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    noise: Noise | None = None
    """How far trainings of the seed lie apart, where that was measured."""


@dataclass(frozen=True)
class Context:
    """What is known at the moment a recipe is turned into a prompt."""

    brief: Brief
    seed: Individual
    individuals: Mapping[str, Individual]
    """By id: every individual that the recipe names as parent or elite."""
    recent: tuple[Individual | Failure, ...] = ()
    """The last evaluations, oldest first."""
    front: tuple[Individual, ...] = ()
    """What nothing measured so far dominates, best first in the first objective."""
    lessons: Mapping[str, str] = field(default_factory=dict)
    """What earlier changes taught, by id, in words: Markdown list items, clean of control characters, hostile all the same."""
    guidance: str = ""
    """What the user says meanwhile."""
    written: Mapping[str, str] = field(default_factory=dict)
    """Directives that this run wrote itself, by name."""
    under_way: tuple[Candidate | Variant, ...] = ()
    """Other children that are being bred, or have their code and are not measured yet, oldest first."""
    met: KnownPrograms | None = None
    """The programs that are known; None: it does not matter whether a child is new."""

    @cached_property
    def on_front(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(one.id for one in self.front)


class Operator(Protocol):
    """Makes a child out of parents, by a prompt or by itself. Pure: no I/O, no chance (that is all in the recipe)."""

    @property
    def name(self) -> str: ...

    @property
    def n_parents(self) -> int: ...


@runtime_checkable
class Prompting(Operator, Protocol):
    """An operator that asks a model."""

    def prompt(self, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        """`base`: the genome that the answer will be edited into, the first parent's or an earlier recipe's result."""
        ...


@runtime_checkable
class Combining(Operator, Protocol):
    """An operator that needs no model: it costs nothing, and its recipes name none."""

    def intention(self, recipe: Recipe) -> str:
        """What the child is meant to be, since no model says it."""
        ...

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        """What a model would answer: the changed definitions in a fence. `base`: as above."""
        ...
