"""Parents -> prompt, or the answer itself. Each operator is a short file; all are pure, chance is drawn before, in `draw`."""

from __future__ import annotations

from collections.abc import Mapping

from agent.operators.context import Brief, Combining, Context, Prompting
from agent.operators.eot import EvolutionOfThought
from agent.operators.mate import Mate
from agent.operators.mutate import Mutate
from agent.operators.repair import repair
from agent.operators.rewrite import Rewrite
from agent.operators.splice import Splice
from agent.operators.templates import Prompts

__all__ = [
    "Brief",
    "Combining",
    "Context",
    "EvolutionOfThought",
    "Mate",
    "Mutate",
    "Prompting",
    "operators",
    "repair",
]


def operators(prompts: Prompts) -> Mapping[str, Prompting | Combining]:
    """The operators by name, as recipes call them. A new one is one file, and one line here."""
    every: tuple[Prompting | Combining, ...] = (
        Mutate(prompts),
        Mate(prompts),
        EvolutionOfThought(prompts),
        Rewrite(prompts),
        Splice(),
    )
    return {operator.name: operator for operator in every}
