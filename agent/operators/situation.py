"""The parts that operators' prompts share: the opening, which hardly changes in a run, and what has been measured so far.

A prompt begins with what stays the same, so that providers can cache it: task, objectives, rules, then the program. What
changes with every result stands behind that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from agent.core.objectives import Objective
from agent.core.text import fence, format_number
from agent.genome import Genome
from agent.operators.children import NOTHING, table, tells_training, under_way
from agent.operators.compare import differing_blocks
from agent.operators.context import Context
from agent.operators.front import describe_front
from agent.operators.measurements import (
    describe_curve,
    describe_large_step,
    describe_mistakes,
    describe_parameters,
    describe_parts,
    describe_seconds,
    describe_units,
    gains,
)
from agent.operators.others import code_of_others
from agent.operators.prompt_parts import code_names
from agent.operators.templates import Prompts
from agent.population.candidate import Individual

TABLE_SHARE, TABLE_BOUNDS = 0.5, (700, 4_000)
"""Characters of the table: this share of those by which the program is longer than `SMALL`, and bounds."""
CODE_SHARE, CODE_BOUNDS = 1.2, (600, 5_000)
"""The same for the code of other individuals."""
SMALL = 1_800
"""Characters. What a prompt says of the task weighs more where the program is small."""
FEW_LEFT = 40
"""With so few candidates left, each must try much."""

_BETTER = {"max": "more", "min": "less"}


def opening(prompts: Prompts, context: Context, rules: str) -> str:
    """Task, objectives and rules: the part of a prompt that stays the same from one candidate to the next."""
    brief = context.brief
    return prompts.parts["opening"].fill(
        task=brief.task,
        facts=_bullets(f"{label}: {fact}" for label, fact in brief.facts.items() if fact.strip()),
        objectives=_bullets(_objective(o) for o in brief.objectives),
        constraints=", ".join(f"{c.name} {c.relation} {format_number(c.bound)}" for c in brief.constraints),
        units=describe_units(context),
        rules=rules,
    )


def situation(
    prompts: Prompts,
    base: Genome,
    context: Context,
    parent: Individual,
    others: Mapping[str, Individual] = NOTHING,
    *,
    blocks: Collection[str] = (),
) -> str:
    """What has been measured: of the program itself, of its relatives, and of those that did best.

    `parent`: the individual whose program is edited; `others`: more individuals whose code the prompt shows, by their label;
    `blocks`: those to be rewritten, empty for any.
    """
    figures = parent if parent.evidence.parameters_by_block or parent.evidence.curve else context.seed
    size = sum(map(len, base.files.values()))
    gained = gains(context)
    room = _room(size, CODE_SHARE, CODE_BOUNDS) // (2 if others else 1)
    code = code_of_others(context, base, parent, room, gained, blocks=blocks, without=[*others.values()])
    lessons = {id: text for id, text in context.lessons.items() if id not in code}
    rows = table(
        context,
        {"the program above": parent, **others},
        _room(size, TABLE_SHARE, TABLE_BOUNDS),
        gained,
        blocks=blocks,
        first=[*code, *lessons],
        told=lessons,
    )
    first, second, *_ = [*code.items(), ("", ""), ("", "")]
    return prompts.parts["situation"].fill(
        base=parent.id,
        edited=code_names(differing_blocks(base, parent.genome)),
        figures_of=figures.id,
        parameters=describe_parameters(figures.evidence),
        parts=describe_parts(figures.evidence),
        curve=describe_curve(figures.evidence.curve, figures.fitness),
        mistakes=describe_mistakes(figures.evidence),
        printed=fence("\n".join(parent.evidence.printed), "text") if parent.evidence.printed else "",
        seconds=describe_seconds((parent if parent.evidence.seconds else figures).evidence),
        columns=" | ".join(_columns(context)),
        table=rows,
        front=describe_front(context),
        first=first[0],
        first_code=first[1],
        second=second[0],
        second_code=second[1],
        lessons="\n".join(lessons.values()),
        under_way=under_way(context),
        guidance=fence(context.guidance, "text") if context.guidance else "",
    )


def scale(prompts: Prompts, context: Context) -> str:
    """How much one answer should try; empty if many candidates are left, or if it is not known how many."""
    if context.left is None or context.left > FEW_LEFT:
        return ""
    return prompts.parts["scale"].fill(left=f"{context.left:,}", step=describe_large_step(context))


def _room(size: int, share: float, bounds: tuple[int, int]) -> int:
    least, most = bounds
    return round(min(max(share * (size - SMALL), least), most))


def _objective(objective: Objective) -> str:
    reported = f" (self-reported: {objective.reported})" if objective.reported else ""
    return f"{objective.name}: {_BETTER[objective.direction]} is better{reported}"


def _columns(context: Context) -> list[str]:
    """Of the table."""
    training = ["training accuracy"] if tells_training(context) else []
    return ["id", "made from", "by", *(o.name for o in context.brief.objectives), *training, "time", "intention"]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
