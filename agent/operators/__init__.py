"""Operators: each draws a recipe from parents, and turns it into a prompt, or into the answer itself if it needs no model.

To add one, write a file here with a small frozen dataclass (see `operator.py` for what it needs), a template in `prompts/`,
and a line below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from agent.operators.context import Brief, Context
from agent.operators.eot import EvolutionOfThought
from agent.operators.mate import Mate
from agent.operators.mutate import Mutate
from agent.operators.operator import DrawContext, ModelFreeOperator, PromptOperator, Sampling
from agent.operators.repair import repair

__all__ = [
    "OPERATORS",
    "Brief",
    "Context",
    "DrawContext",
    "EvolutionOfThought",
    "Mate",
    "ModelFreeOperator",
    "Mutate",
    "PromptOperator",
    "Sampling",
    "noun",
    "repair",
]

_REGISTERED = (
    "mutate:Mutate",
    "rewrite:Rewrite",
    "eot:EvolutionOfThought",
    "mate:Mate",
    "splice:Splice",
    "assemble:Assemble",
    "combine:Combine",
    "null:NullEdit",
)
"""Modules here, each with its class. Random draws depend on the order."""


def _operators() -> Iterator[PromptOperator | ModelFreeOperator]:
    for place in _REGISTERED:
        module, _, kind = place.partition(":")
        yield getattr(import_module(f"agent.operators.{module}"), kind)()


OPERATORS: Mapping[str, PromptOperator | ModelFreeOperator] = MappingProxyType({one.name: one for one in _operators()})
"""Every operator by its name, in the order of the registry."""


def noun(name: str) -> str:
    """What prompts call the work of an operator, such as `mutation`; an unknown name is returned as it is."""
    return OPERATORS[name].noun if name in OPERATORS else name
