"""The part that every operator's prompt begins with: task, objectives, and what has been measured so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from agent import operators
from agent.core.objectives import Objective
from agent.core.text import fence, format_number, quote
from agent.genome import Genome
from agent.operators.compare import differing_blocks
from agent.operators.context import Context
from agent.operators.measurements import (
    describe_curve,
    describe_fitness,
    describe_noise,
    describe_parameters,
    describe_seconds,
    describe_sizes,
)
from agent.operators.prompt_parts import code_names, short_code_names
from agent.operators.templates import Prompts
from agent.population.candidate import INVALID_STAGES, SEED_ID, Candidate, Failure, Individual, Variant

MAX_FRONT = 8
"""Members of the front that a prompt lists at most, besides the individuals whose code it shows."""
MAX_RECENT = 8
"""Evaluations that a prompt lists at most, and candidates that are under way."""
INTENTION_LIMIT = 240
"""Characters of an intention."""
LOG_LINES = 2
"""The last lines of a failure's output that are shown."""

_BETTER = {"max": "more", "min": "less"}


def situation(
    prompts: Prompts, base: Genome, context: Context, parent: Individual, others: Mapping[str, Individual] = MappingProxyType({})
) -> str:
    """Return the text.

    `parent`: the individual whose program is edited; `others`: more individuals whose code the prompt shows, by their label.
    """
    brief, figures = context.brief, parent if parent.evidence.parameters_by_block else context.seed
    shown: dict[str, tuple[str, Individual]] = {}
    for part, one in {"Seed": context.seed, "Parent": parent, **others}.items():
        shown[one.id] = (f"{shown[one.id][0]}, the {part.lower()}" if one.id in shown else part, one)
    rest = _evenly_spaced([one for one in context.front if one.id not in shown])
    shown |= {one.id: ("", one) for one in rest}
    return prompts.parts["situation"].fill(
        task=brief.task,
        facts=_bullets(f"{label}: {fact}" for label, fact in brief.facts.items() if fact.strip()),
        objectives=_bullets(_objective(o) for o in brief.objectives),
        constraints=", ".join(f"{c.name} {c.relation} {format_number(c.bound)}" for c in brief.constraints),
        standing=_bullets(_individual(part, one, context) for part, one in shown.values()),
        figures_of=figures.id,
        parameters=describe_parameters(figures.evidence.parameters_by_block),
        sizes=describe_sizes(figures.evidence.sizes_by_block),
        seconds=describe_seconds(figures.evidence.seconds),
        curve=describe_curve(figures.evidence.curve, figures.fitness),
        edited=code_names(differing_blocks(base, parent.genome)),
        memory=f"{figures.evidence.peak_memory / 2**20:,.0f} MiB" if figures.evidence.peak_memory else "",
        noise=describe_noise(context),
        lessons="\n\n".join(context.lessons.values()),
        guidance=fence(context.guidance, "text") if context.guidance else "",
        recent=_bullets(_recent(context, shown.keys())),
        under_way=_bullets(_under_way(one) for one in context.under_way[-MAX_RECENT:]),
    )


def _objective(objective: Objective) -> str:
    reported = f" (self-reported: {objective.reported})" if objective.reported else ""
    return f"{objective.name}: {_BETTER[objective.direction]} is better{reported}"


def _individual(part: str, one: Individual, context: Context) -> str:
    """One individual: `Parent `0004`, on the front (mutation of `A`): accuracy 0.9 (+0.1). Intention: `...`.`

    Names the blocks that differ from the seed if its own change does not cover them all.
    """
    front = ", on the front" if one.id in context.front_ids else ""
    if one.id == SEED_ID:
        return f"{part}{front}: {describe_fitness(one, context)}"
    changed = differing_blocks(one.genome, context.seed.genome)
    named = {*one.candidate.blocks, *one.changed}
    earlier = f". Differs from the seed in {code_names(changed)}" if set(changed) - named else ""
    heading = f"{part} `{one.id}`".strip() + f"{front} ({_origin(one.candidate, one.changed)})"
    return f"{heading}: {describe_fitness(one, context)}{_intention(one, context)}{earlier}"


def _origin(candidate: Candidate, changed: Sequence[str] = ()) -> str:
    """What its operators did to the parents: `mating of `A`, then mutation "reduce size" of `B``."""
    steps = []
    for recipe in candidate.recipes:
        directive = f' "{recipe.directive.replace("_", " ")}"' if recipe.directive else ""
        blocks = short_code_names(recipe.blocks or [name for name in changed if name not in candidate.blocks])
        steps.append(f"{operators.noun(recipe.operator)}{directive}" + (f" of {blocks}" if blocks else ""))
    return ", then ".join(steps)


def _under_way(unmeasured: Candidate | Variant) -> str:
    """A candidate without measurements, with its intention if it has its code already."""
    if isinstance(unmeasured, Variant):
        candidate, intention, changed = unmeasured.candidate, unmeasured.intention, unmeasured.changed
    else:
        candidate, intention, changed = unmeasured, "", ()
    text = f"{_origin(candidate, changed)} in `{candidate.recipes[0].parents[0]}`"
    return f"{text}: {quote(intention, INTENTION_LIMIT)}" if intention else text


def _intention(outcome: Individual | Failure, context: Context) -> str:
    """Empty if the prompt shows the lesson of this candidate, which states the intention too."""
    if not outcome.intention or outcome.id in context.lessons:
        return ""
    return f". Intention: {quote(outcome.intention, INTENTION_LIMIT)}"


def _evenly_spaced(front: Sequence[Individual]) -> Sequence[Individual]:
    """At most `MAX_FRONT` members, evenly spread from one end of the front to the other."""
    last = len(front) - 1
    return front if last < MAX_FRONT else [front[round(i * last / (MAX_FRONT - 1))] for i in range(MAX_FRONT)]


def _recent(context: Context, shown: Collection[str]) -> list[str]:
    """The last evaluations that the prompt does not mention elsewhere.

    Candidates that failed before any of their code ran are left out: they teach nothing about networks.
    """
    mentioned = {*shown, *context.lessons}
    ran = [one for one in context.recent if not (isinstance(one, Failure) and one.stage in INVALID_STAGES)]
    new = [one for one in ran if one.id not in mentioned][-MAX_RECENT:]
    return [
        f"`{one.id}` ({_origin(one.candidate, one.changed)}): {_result(one, context)}{_intention(one, context)}" for one in new
    ]


def _result(outcome: Individual | Failure, context: Context) -> str:
    if isinstance(outcome, Failure):
        last = " ".join(outcome.log.split("\n")[-LOG_LINES:]).strip()
        tail = f", last output {quote(last)}" if last and last not in outcome.reason else ""
        return f"failed at {outcome.stage}: {quote(outcome.reason)}{tail}"
    return describe_fitness(outcome, context)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
