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
    more = len(ordered) - 1 - MAX_STEPS
    text = f"Enters the front ({first.name} / {second.name}): {'; '.join(ways)}."
    text += f" {more} narrower step{'s' * (more > 1)} not told." if more > 0 else ""
    if len(ordered) > 2:
        a, b = max(pairwise(ordered), key=lambda pair: _width(pair, context))
        text += f" Widest gap: `{a.id}` to `{b.id}`."
    return text


def describe_aim(context: Context, number: int, parent: Individual) -> str:
    """Where one answer of several should aim, so that a front does not grow at one end alone; empty if it may aim anywhere.

    `number`: any; two thirds of all numbers aim. From where the parent stands: at the end that is best in the first objective,
    or at the widest gap beside it; an aim elsewhere would ask for another program.
    """
    front, objectives = [one for one in context.front if one.candidate.recipes], context.brief.objectives
    if len(objectives) != 2 or len(front) < 2 or number % 3 == 0:
        return ""
    first, second = objectives
    ordered = sorted(front, key=lambda one: one.fitness[first.name], reverse=first.direction == "max")
    better, worse = max(pairwise(ordered), key=lambda pair: _width(pair, context))
    if parent.id == ordered[0].id and not (number % 3 == 2 and parent.id == better.id):
        return (
            f"Aim at {first.name} here: {_beyond(first, parent)}, at any {second.name} within the bounds; "
            f"what `{parent.id}` spends of it ({format_number(parent.fitness[second.name])}) and more may be spent."
        )
    if parent.id in (better.id, worse.id) and number % 3 == 2:
        return f"Aim at the widest gap here: {first.name} {_beyond(first, worse)} at {second.name} {_beyond(second, better)}."
    return ""


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
