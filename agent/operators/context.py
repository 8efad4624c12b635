"""The data that an operator writes a prompt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from agent.core.noise import Noise
from agent.core.objectives import Constraint, Objective
from agent.operators.changes import Measured
from agent.operators.templates import Prompts
from agent.population.archive import KnownPrograms
from agent.population.candidate import SEED_ID, Candidate, Failure, Individual, Variant


@dataclass(frozen=True)
class Brief:
    """The part that is the same in every prompt of a run."""

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
    """What is known when a recipe is turned into a prompt."""

    brief: Brief
    seed: Individual
    individuals: Mapping[str, Individual]
    """By id: every individual that the recipe names as parent, elite or source, and the first parent of each source."""
    recent: tuple[Individual | Failure, ...] = ()
    """The last evaluations, oldest first."""
    front: tuple[Individual, ...] = ()
    """The individuals that no other one dominates so far, best first in the first objective."""
    lessons: Mapping[str, str] = field(default_factory=dict)
    """Rendered lessons of earlier changes, by id: Markdown list items, clean of control characters, hostile all the same."""
    guidance: str = ""
    """The user's text in `guidance.md`."""
    written_directives: Mapping[str, str] = field(default_factory=dict)
    """Directives that this run wrote itself, by name."""
    under_way: tuple[Candidate | Variant, ...] = ()
    """Other candidates that are being bred, or have their code and are not measured yet, oldest first."""
    known_programs: KnownPrograms | None = None
    """The programs that are known already; None: it does not matter whether the candidate's program is new."""
    everyone: tuple[Individual, ...] = ()
    """All measured individuals that a prompt may tell of, oldest first."""
    left: int | None = None
    """How many more candidates the run can make, this one included; None: unknown."""

    @cached_property
    def noise(self) -> Noise:
        """As it was measured; where it was not, every change counts as one."""
        return self.brief.noise or Noise.unmeasured(self.seed.fitness, self.brief.objectives)

    @cached_property
    def known(self) -> Mapping[str, Individual]:
        """By id: every individual that is known here, oldest first."""
        known = {one.id: one for one in (self.seed, *self.everyone, *self.individuals.values(), *self.front)}
        return {**known, **{one.id: one for one in self.recent if isinstance(one, Individual)}}

    def parent_of(self, one: Individual) -> Individual | None:
        """What the individual was made from: its first parent. None for the seed, or if it is not known here."""
        recipes = one.candidate.recipes
        return self.known.get(recipes[0].parents[0]) if recipes else None

    @cached_property
    def measured(self) -> Measured:
        """The individuals of this context, in the units of the run."""
        objectives = self.brief.objectives
        noise = self.brief.noise or Noise.unmeasured(self.seed.fitness, objectives)
        return Measured({SEED_ID: self.seed, **self.individuals}, objectives, noise)

    @cached_property
    def front_ids(self) -> frozenset[str]:
        return frozenset(one.id for one in self.front)

    def directive(self, prompts: Prompts, name: str) -> str:
        """The text of a directive: one that this run wrote, or a shipped one."""
        return self.written_directives.get(name) or prompts.directives[name]
