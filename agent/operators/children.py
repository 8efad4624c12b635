"""The table of a prompt: one line for each child that it tells of, the most telling first, as many as there is room for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from types import MappingProxyType

from agent import operators
from agent.core.text import format_number, quote
from agent.operators.context import Context
from agent.operators.measurements import describe_value, total_seconds, training_accuracy
from agent.operators.prompt_parts import short_code_names
from agent.population.candidate import INVALID_STAGES, SEED_ID, Candidate, Failure, Individual, Variant

MAX_ALIKE, MAX_SIBLINGS, MAX_FRONT, MAX_GAINS, MAX_FAILURES = 6, 4, 8, 6, 2
"""The most children that are told for each reason: of the same block, of the same parent, on the front, with the largest gains;
and failures."""
NAMED_LIMIT, INTENTION_LIMIT, FAILURE_LIMIT, UNDER_WAY_LIMIT, EXPECTED_LIMIT = 110, 80, 120, 240, 120
"""Characters of an intention, of an individual that the prompt is about and of others; of a failure's reason; of an intention
that is not measured yet, and of the effect that is expected of it."""
MAX_SHORT = 24
"""The most others of which the values alone are told, the newest ones."""
MAX_UNDER_WAY = 6
"""Candidates that are under way and are listed at most."""
NOTHING: Mapping[str, Individual] = MappingProxyType({})


def table(
    context: Context,
    named: Mapping[str, Individual],
    room: int,
    gains: Mapping[str, float],
    *,
    blocks: Collection[str] = (),
    first: Iterable[str] = (),
    told: Collection[str] = frozenset(),
) -> str:
    """The rows, at most about `room` characters. The seed and the `named` individuals (by what they are) are always there.

    `gains`: by id, see `measurements.gains`; `blocks`: those to be rewritten, empty for any; `first`: ids that come before all
    others; `told`: ids whose intention the prompt shows elsewhere. The front (at most `MAX_FRONT`) is there whatever
    the room: what would enter it is said beside the table.
    """
    labels: dict[str, list[str]] = {context.seed.id: []}
    for label, one in named.items():
        labels.setdefault(one.id, []).append(label.lower())
    rows = [_row(context.known.get(id) or _of(named, id), context, labels[id], id in told) for id in labels]
    failures = [_failure_row(one) for one in _failures(context, blocks, told)]
    room -= sum(len(row) + 1 for row in (*rows, *failures))
    front = {one.id for one in _evenly_spaced(context.front)}
    for one in _ranked(context, gains, next(iter(named.values())), blocks, first):
        if one.id not in labels:
            row = _row(one, context, (), one.id in told)
            room -= len(row) + 1
            if room < 0 and one.id not in front:
                continue
            labels[one.id] = []
            rows.append(row)
    return "\n".join([*rows, *failures, *_in_short(context, labels)])


def _in_short(context: Context, told: Collection[str]) -> list[str]:
    """A line of all others with their values alone, so that nobody tries again what seems never to have been measured."""
    objectives = context.brief.objectives
    rest = [one for one in context.known.values() if one.id not in told and one.candidate.recipes][-MAX_SHORT:]
    values = [" / ".join(format_number(one.fitness[o.name]) for o in objectives) for one in rest]
    short = [f"`{one.id}`{_star(one, context)} {value}" for one, value in zip(rest, values, strict=True)]
    return [f"- others measured ({' / '.join(o.name for o in objectives)}): {', '.join(short)}"] if short else []


def _star(one: Individual, context: Context) -> str:
    return "*" if one.id in context.front_ids else ""


def tells_training(context: Context) -> bool:
    """Whether trainings report their accuracy: a task of the user's own may report nothing."""
    return len(context.seed.evidence.curve[-1]) > 1 if context.seed.evidence.curve else False


def under_way(context: Context) -> str:
    """What others try now, a line each; those of which nothing is known yet are left out."""
    lines = [_under_way_row(one) for one in context.under_way]
    return "\n".join([f"- {line}" for line in lines if line][-MAX_UNDER_WAY:])


def _of(named: Mapping[str, Individual], id: str) -> Individual:
    return next(one for one in named.values() if one.id == id)


def _ranked(
    context: Context, gains: Mapping[str, float], parent: Individual, blocks: Collection[str], first: Iterable[str]
) -> Iterator[Individual]:
    """Yield individuals, some several times: `first`, changes of the same blocks, front, the parent's children, large gains."""
    known = context.known
    yield from (known[id] for id in first if id in known)
    children = [one for one in known.values() if one.candidate.recipes]
    largest = sorted(children, key=lambda one: -gains[one.id])
    alike = [one for one in largest if not {*one.candidate.about(one.changed)}.isdisjoint(blocks)]
    half = MAX_ALIKE // 2  # what helped, and what harmed
    yield from chain(alike[:half], alike[half:][-half:])
    yield from _evenly_spaced(context.front)
    yield from islice((one for one in largest if one.candidate.recipes[0].parents[0] == parent.id), MAX_SIBLINGS)
    yield from islice((one for one in largest if gains[one.id] > 0), MAX_GAINS)
    yield from reversed(children[-MAX_GAINS:])


def _evenly_spaced(front: Sequence[Individual]) -> Sequence[Individual]:
    """At most `MAX_FRONT` members, evenly spread from one end of the front to the other; both ends come first."""
    last = len(front) - 1
    chosen = front if last < MAX_FRONT else [front[round(i * last / (MAX_FRONT - 1))] for i in range(MAX_FRONT)]
    return [*chosen[:1], *chosen[1:][-1:], *chosen[1:-1]]


def _row(one: Individual, context: Context, labels: Sequence[str], id_told: bool) -> str:
    cells = [f"`{one.id}`{_star(one, context)}" + (f" ({', '.join(labels)})" if labels else "")]
    if one.id == SEED_ID:
        cells += ["-", "-"]
    else:
        cells += [f"`{one.candidate.recipes[0].parents[0]}`", origin(one.candidate, one.changed)]
    cells += [describe_value(o, one, context) for o in context.brief.objectives]
    cells += [training_accuracy(one.evidence)] if tells_training(context) else []
    cells.append(total_seconds(one.evidence.seconds))
    if one.intention and not id_told:
        cells.append(quote(one.intention, NAMED_LIMIT if labels else INTENTION_LIMIT))
    return "- " + " | ".join(cells)


def _failures(context: Context, blocks: Collection[str], told: Collection[str]) -> list[Failure]:
    """The last failures, those of the same blocks first. A candidate that failed before its code ran teaches nothing."""
    ran = [one for one in context.recent if isinstance(one, Failure) and one.stage not in INVALID_STAGES and one.id not in told]
    ran.reverse()
    return sorted(ran, key=lambda one: {*one.candidate.about(one.changed)}.isdisjoint(blocks))[:MAX_FAILURES]


def _failure_row(one: Failure) -> str:
    cells = [f"`{one.id}`", f"`{one.candidate.recipes[0].parents[0]}`", origin(one.candidate, one.changed)]
    cells.append(f"failed at {one.stage}: {quote(one.reason, FAILURE_LIMIT)}")
    return "- " + " | ".join(cells)


def origin(candidate: Candidate, changed: Sequence[str] = ()) -> str:
    """What its operators did to the parents: `mating of `A`, then mutation "reduce size" of `B``."""
    steps = []
    for recipe in candidate.recipes:
        directive = f' "{recipe.directive.replace("_", " ")}"' if recipe.directive else ""
        blocks = short_code_names(recipe.blocks or [name for name in changed if name not in candidate.blocks])
        steps.append(f"{operators.noun(recipe.operator)}{directive}" + (f" of {blocks}" if blocks else ""))
    return ", then ".join(steps)


def _under_way_row(unmeasured: Candidate | Variant) -> str:
    """A candidate without measurements, with its intention if it has its code already; empty if it says nothing yet."""
    if isinstance(unmeasured, Variant):
        candidate, intention, changed = unmeasured.candidate, unmeasured.intention, unmeasured.changed
        expected = unmeasured.expected
    else:
        candidate, intention, changed, expected = unmeasured, "", (), ""
    if not (intention or changed or candidate.blocks or candidate.directive):
        return ""
    text = f"{origin(candidate, changed)} in `{candidate.recipes[0].parents[0]}`"
    text += f": {quote(intention, UNDER_WAY_LIMIT)}" if intention else ""
    return f"{text}, expected: {quote(expected, EXPECTED_LIMIT)}" if expected else text
