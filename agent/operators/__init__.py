"""Parents -> prompt. Each operator is one short file; all of them are pure, chance is drawn beforehand in `draw`."""

from __future__ import annotations

from collections.abc import Mapping

from agent.operators.context import Brief, Context, Operator
from agent.operators.draw import Sampling, draw_eot, draw_mating, draw_mutation
from agent.operators.eot import EvolutionOfThought
from agent.operators.mate import Mate
from agent.operators.mutate import Mutate
from agent.operators.repair import repair
from agent.prompting import Prompts

__all__ = [
    "Brief",
    "Context",
    "EvolutionOfThought",
    "Mate",
    "Mutate",
    "Operator",
    "Sampling",
    "draw_eot",
    "draw_mating",
    "draw_mutation",
    "operators",
    "repair",
]


def operators(prompts: Prompts) -> Mapping[str, Operator]:
    """The operators by name, as recipes call them. A new one is one file, and one line here."""
    every: tuple[Operator, ...] = (Mutate(prompts), Mate(prompts), EvolutionOfThought(prompts))
    return {operator.name: operator for operator in every}
