"""What all operators' conversations share: the system message in front, the rules at the end."""

from __future__ import annotations

from agent.genome import Genome
from agent.llm import Message
from agent.operators.compare import plain
from agent.operators.situation import names
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe

_COMPUTES = "Tensors that go in and out keep their sizes, for every size of input and batch"
_SETS_UP = "It goes on working when the rest of the program changes: take what it needs from `model` and `steps`"
"""What a block must keep beside its signature: what computes, and what is called once to set up the training."""


def conversation(prompts: Prompts, role: str | None, text: str) -> tuple[Message, ...]:
    """The system message says who speaks (nobody in particular without a role), the user message is `text`."""
    system = prompts.parts["system"].fill(role=prompts.roles[role] if role else "")
    return Message("system", system), Message("user", text)


def rules(prompts: Prompts, recipe: Recipe, base: Genome) -> str:
    """The rules for the recipe's (first) block, with the room for the answer where the recipe bounds it."""
    block = base.block(recipe.blocks[0])
    keeps = _SETS_UP if plain(block.name) == "build_optimizer" else _COMPUTES
    return prompts.parts["rules"].fill(block=plain(block.name), kind=block.kind, keeps=keeps, max_tokens=_room(recipe))


def rules_whole(prompts: Prompts, recipe: Recipe, base: Genome) -> str:
    """The rules for an answer that may change any of the blocks."""
    return prompts.parts["rules_whole"].fill(
        frozen=names(plain(name) for name in sorted(base.frozen)),
        file=[*base.files][-1] if len(base.files) > 1 else "",
        max_tokens=_room(recipe),
    )


def _room(recipe: Recipe) -> str:
    return "" if recipe.max_tokens is None else f"{recipe.max_tokens:,}"
