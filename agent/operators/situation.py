"""The part that every operator's prompt begins with: task, objectives, and what has been measured so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agent.fitness import Fitness, Objective
from agent.genome import Genome
from agent.individual import SEED_ID, Failure, Individual
from agent.operators.compare import differing
from agent.operators.context import Context
from agent.prompting import Prompts, quote

RECENT = 8
"""How many of the last evaluations a prompt lists at most."""
SHARES = 12
"""How many blocks' parameters a prompt lists at most: their names are what the candidate says."""

_WANTED = {"max": "more", "min": "less"}
_OPERATORS = {"mutate": "mutation", "mate": "mating", "eot": "Evolution of Thought"}


def situation(
    prompts: Prompts, base: Genome, context: Context, parent: Individual, told_later: Iterable[Individual] = ()
) -> str:
    """`told_later`: individuals whose fitness stands further down in the same prompt: nothing is said twice."""
    brief, later = context.brief, {one.id for one in told_later}
    listed = {one.id: one for one in (context.seed, parent) if one.id not in later}
    figures = parent if parent.evidence.parameters_by_block else context.seed
    return prompts.parts["situation"].fill(
        task=brief.task,
        facts=_bullets(f"{label}: {fact}" for label, fact in brief.facts.items() if fact.strip()),
        objectives=_bullets(f"{o.name}: {_WANTED[o.direction]} is better" for o in brief.objectives),
        constraints=", ".join(f"{c.name} {c.relation} {_number(c.bound)}" for c in brief.constraints),
        standing=_bullets(f"{_rank(one, parent)}: {measured(one, context)}" for one in listed.values()),
        figures_of=figures.id,
        parameters=_shares(figures.evidence.parameters_by_block),
        seconds=_seconds(figures.evidence.seconds),
        curve=_curve(figures.evidence.curve),
        edited=names(differing(base, parent.genome)),
        recent=_bullets(_recent(context, shown=later | listed.keys())),
    )


def measured(individual: Individual, context: Context) -> str:
    """In words, with the change against the seed: `accuracy 0.9334 (+0.0082), parameters 518,126 (same)`."""
    against = None if individual.id == SEED_ID else context.seed.fitness
    return _fitness(individual.fitness, context.brief.objectives, against)


def names(blocks: Iterable[str]) -> str:
    """A list of blocks for a sentence: `A`, `B`."""
    return ", ".join(f"`{name}`" for name in blocks)


def _rank(individual: Individual, parent: Individual) -> str:
    if individual.id != SEED_ID:
        return f"Parent `{individual.id}` ({_made_by(individual)})"
    return "Seed, the parent" if individual is parent else "Seed"


def _made_by(child: Individual | Failure) -> str:
    """What was done to the parents: `mating of A, then mutation "reduce size" of B`."""
    deeds = []
    for recipe in child.birth.recipes:
        directive = f' "{recipe.directive.replace("_", " ")}"' if recipe.directive else ""
        deeds.append(f"{_OPERATORS.get(recipe.operator, recipe.operator)}{directive} of {names(recipe.blocks)}")
    return ", then ".join(deeds)


def _recent(context: Context, shown: set[str]) -> list[str]:
    fresh = [child for child in context.recent if child.id not in shown]
    return [f"`{child.id}` ({_made_by(child)}): {_outcome(child, context)}" for child in fresh[-RECENT:]]


def _outcome(child: Individual | Failure, context: Context) -> str:
    if isinstance(child, Failure):
        return f"failed at {child.stage}: {quote(child.reason)}"
    return measured(child, context)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _fitness(fitness: Fitness, objectives: Sequence[Objective], against: Fitness | None) -> str:
    return ", ".join(
        f"{o.name} {_number(fitness[o.name])}" + (f" ({_change(fitness[o.name], against[o.name])})" if against else "")
        for o in objectives
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _change(value: float, reference: float) -> str:
    """Two digits are enough: one validation image more is a change of 0.0028, and the third digit is never known."""
    if value == reference:
        return "same"
    if abs(reference) >= 1000 and abs(value / reference - 1) >= 0.0005:
        return f"{value / reference - 1:+.1%}"
    return ("+" if value > reference else "-") + _rough(abs(value - reference))


def _rough(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _shares(parameters: Mapping[str, int]) -> str:
    """Largest first, those without parameters left out: `Net` 5,130 (81%), `SE` 1,200 (19%)."""
    total = sum(parameters.values())
    ranked = sorted(parameters.items(), key=lambda item: -item[1])
    shown = [
        f"`{block}` {count:,} ({f'{count / total:.0%}' if count / total >= 0.005 else 'under 1%'})"
        for block, count in ranked[:SHARES]
        if count
    ]
    rest = sum(count for _, count in ranked[SHARES:])
    return ", ".join([*shown, f"all others {rest:,}"] if rest else shown)


def _seconds(stages: Mapping[str, float]) -> str:
    each = ", ".join(f"{stage} {_rough(seconds)}" for stage, seconds in stages.items())
    return f"{_rough(sum(stages.values()))} s ({each})" if stages else ""


def _curve(rows: Sequence[tuple[float, ...]]) -> str:
    """First, middle and last epoch: enough to see whether it still learns, has settled or overfits."""
    chosen = sorted({0, len(rows) // 2, len(rows) - 1}) if rows else []
    told = []
    for epoch in chosen:
        loss, *accuracy = rows[epoch][:2]
        told.append(f"epoch {epoch + 1} loss {loss:.3g}" + "".join(f", accuracy {share:.3g}" for share in accuracy))
    return "; ".join(told)
