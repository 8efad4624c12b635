"""Combination: a model puts the strongest measured changes into one program, with all that fits together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import Genome
from agent.llm import Message
from agent.operators.changes import Change, Measured, apart, distinct, expected_of, gains_in_words
from agent.operators.compare import differing_blocks
from agent.operators.context import Context
from agent.operators.operator import DrawContext
from agent.operators.prompt_parts import (
    code_names,
    conversation,
    length,
    rules_for_program,
    short_code_names,
    shortened_diff,
    whole_program,
)
from agent.operators.situation import opening, situation
from agent.operators.templates import Prompts
from agent.population.candidate import Individual, Recipe

POOL = 8
"""So many of the largest gains are chosen from."""
MAX_CHANGES = 4
"""Changes that a prompt shows at most."""
CHANGES_LIMIT = 9_000
"""Characters of all changes together that a prompt shows."""


@dataclass(frozen=True)
class Combine:
    name: str = "combine"
    noun: str = "combination"
    share: float = 0.05

    def draw(self, context: DrawContext) -> Recipe | None:
        """A recipe with the largest gains beyond the noise that the parent lacks, or with some of them if that was drawn before.

        None for fewer than two gains of different blocks.
        """
        measured, parent, rng = context.measured, context.parent, context.rng
        pool = distinct(_lacked(parent, measured), POOL) if measured else []
        if len(pool) < 2:
            return None
        sources = tuple(change.giver.id for change in pool[:MAX_CHANGES])
        if any((one.operator, one.parents, one.sources) == (self.name, (parent.id,), sources) for one in context.together):
            count = rng.randint(2, min(MAX_CHANGES, len(pool)))
            chosen = sorted(rng.sample(range(len(pool)), count))
            sources = tuple(pool[number].giver.id for number in chosen)
        return Recipe(self.name, (parent.id,), (), **context.sampling.draw(rng), sources=sources)

    def prompt(self, prompts: Prompts, recipe: Recipe, base: Genome, context: Context) -> tuple[Message, ...]:
        if recipe.blocks or not recipe.sources:
            raise ValueError("the recipe of a combination names no blocks, but the individuals whose changes it shows")
        measured, brief = context.measured, context.brief
        givers = [context.individuals[id] for id in recipe.sources]
        program, unused = whole_program(base)
        limit = CHANGES_LIMIT // len(givers)
        text = prompts.parts["combine"].fill(
            opening=opening(prompts, context, rules_for_program(prompts, base)),
            program=program,
            unused=unused,
            situation=situation(prompts, base, context, context.individuals[recipe.parents[0]], _labels(givers)),
            changes="\n\n".join(_described(number, one, base, measured, limit) for number, one in enumerate(givers, start=1)),
            expected=gains_in_words(expected_of(recipe, measured), brief.objectives, measured.noise),
            alternatives=code_names(_with_common_blocks(givers, measured)),
            length=length(prompts, recipe),
        )
        return conversation(prompts, recipe.role, text)


def _lacked(parent: Individual, measured: Measured) -> list[Change]:
    """The gains that the parent's program lacks and could have: it is as they found it where they changed something.

    What a change brought to another design says nothing of this one, and no sum of gains could be expected.
    """
    own = {block.name: block.meanings for block in parent.genome.all_blocks}
    line, one = {parent.id}, measured.parent(parent)
    while one:
        line, one = {*line, one.id}, measured.parent(one)
    return [change for change in measured.own_changes() if change.giver.id not in line and _meets_what_it_knew(change, own)]


def _meets_what_it_knew(change: Change, own: Mapping[str, object]) -> bool:
    """Whether the blocks that were changed stand in `own` as they stood before the change, and those it brought are not there."""
    before = {block.name: block.meanings for block in change.before.genome.all_blocks}
    return all(own.get(name) == before.get(name) for name in change.blocks)


def _labels(givers: list[Individual]) -> dict[str, Individual]:
    """What the list of individuals calls those whose changes are shown."""
    return {f"change {number}": one for number, one in enumerate(givers, start=1)}


def _described(number: int, giver: Individual, base: Genome, measured: Measured, limit: int) -> str:
    """One change: what it brought over which program, where that is another than `base`, and its code.

    The situation tells what it was meant to do.
    """
    before = measured.individuals[giver.candidate.parents[0]]
    change = measured.change(giver, before)
    blocks = short_code_names(change.blocks if change else giver.changed)
    gains = gains_in_words(measured.gains(giver, before), measured.objectives, measured.noise)
    code = fence(shortened_diff(before.genome, giver.genome, limit), "diff")
    other = short_code_names(differing_blocks(before.genome, base))
    elsewhere = f" `{before.id}` has other versions of {other} than the program above." if other else ""
    text = f"It changed {blocks} of `{before.id}`, which brought {gains}.{elsewhere}"
    return f"### Change {number}: `{giver.id}`\n\n{text}\n\n{code}"


def _with_common_blocks(givers: list[Individual], measured: Measured) -> list[str]:
    """The ids of those that changed a block which another one changed too."""
    pairs = [(one, measured.individuals[one.candidate.parents[0]]) for one in givers]
    changes = [change for pair in pairs if (change := measured.change(*pair))]
    return [a.giver.id for a in changes if any(a is not b and not apart(a, b) for b in changes)]
