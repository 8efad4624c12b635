"""What would enter the front now, and where it is thin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from agent.core.objectives import Objective
from agent.core.text import format_number
from agent.core.worth import WorthScale
from agent.operators.context import Context
from agent.population.candidate import Individual

MAX_STEPS = 3
"""Ways between neighbours that are listed at most."""
_BEYOND = {"max": "above", "min": "below"}


def describe_front(context: Context) -> str:
    """`Enters the front (accuracy / parameters): above 0.89 / any; above 0.87 / below 66,436; any / below 26,722.`

    And between which two members the gap is widest. Empty while only the seed is on it, and for more than two objectives.
    """
    front, objectives = context.front, context.brief.objectives
    if len(objectives) not in (1, 2) or not any(one.candidate.recipes for one in front):
        return ""
    first = objectives[0]
    ordered = sorted(front, key=lambda one: one.fitness[first.name], reverse=first.direction == "max")
    if len(objectives) == 1:
        return f"Enters the front: {first.name} {_beyond(first, ordered[0])}."
    second = objectives[1]
    ways = [f"{_beyond(first, ordered[0])} / any"]
    ways += [f"{_beyond(first, worse)} / {_beyond(second, better)}" for better, worse in _widest(ordered, context)]
    ways.append(f"any / {_beyond(second, ordered[-1])}")
    text = f"Enters the front ({first.name} / {second.name}): {'; '.join(ways)}."
    if len(ordered) > 2:
        a, b = max(pairwise(ordered), key=lambda pair: _width(pair, context))
        text += f" Widest gap: `{a.id}` to `{b.id}`."
    return text


def describe_aim(context: Context, number: int, parent: Individual) -> str:
    """Where one answer of several should aim, so that a front does not grow at one end alone; empty if it may aim anywhere.

    `number`: any; a third of all numbers aim at the end that is best in the first objective, a third at the widest gap. From a
    parent at the other end nothing aims at the first: it would have to be another program.
    """
    front, objectives = [one for one in context.front if one.candidate.recipes], context.brief.objectives
    if len(objectives) != 2 or len(front) < 2 or number % 3 == 0:
        return ""
    first, second = objectives
    ordered = sorted(front, key=lambda one: one.fitness[first.name], reverse=first.direction == "max")
    if number % 3 == 1:
        if parent.id == ordered[-1].id:
            return ""
        return (
            f"Aim at {first.name} here: {_beyond(first, ordered[0])}, at any {second.name} within the bounds; "
            f"what `{ordered[0].id}` spends of it ({format_number(ordered[0].fitness[second.name])}) and more may be spent."
        )
    better, worse = max(pairwise(ordered), key=lambda pair: _width(pair, context))
    return f"Aim at the widest gap here: {first.name} {_beyond(first, worse)} at {second.name} {_beyond(second, better)}."


def _widest(ordered: Sequence[Individual], context: Context) -> list[tuple[Individual, Individual]]:
    """The neighbours with the widest gaps, in their order: between them enters what is better than the worse one in the first
    objective and than the other one in the second."""
    pairs = list(pairwise(ordered))
    widest = sorted(pairs, key=lambda pair: -_width(pair, context))[:MAX_STEPS]
    return [pair for pair in pairs if pair in widest]


def _beyond(objective: Objective, one: Individual) -> str:
    return f"{_BEYOND[objective.direction]} {format_number(one.fitness[objective.name])}"


def _width(pair: tuple[Individual, Individual], context: Context) -> float:
    """The area between two neighbours that a new member could take, in units that weigh alike."""
    a, b = pair
    scale = WorthScale.of(context.brief.objectives, context.noise)
    product = 1.0
    for x, y in zip(scale.units(a.fitness), scale.units(b.fitness), strict=True):
        product *= min(abs(x - y), 1e3)
    return product
