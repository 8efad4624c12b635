"""The part that every operator's prompt begins with: task, objectives, and what has been measured so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from agent.core.objectives import Fitness, Objective, amount
from agent.core.text import fence, quote
from agent.genome import Genome
from agent.operators.compare import differing
from agent.operators.context import Context
from agent.operators.templates import Prompts
from agent.population.candidate import INVALID_STAGES, SEED_ID, Candidate, Failure, Individual, Variant, listed

FRONT = 8
"""How many members of the front a prompt lists at most, beside those whose code it shows."""
INTENTION = 240
"""Characters of an intention."""
RECENT = 8
"""How many of the last evaluations a prompt lists at most."""
LAST_LINES = 2
"""Of a failure's output."""
SHARES = 12
"""How many blocks' parameters a prompt lists at most: their names are what the candidate says."""

_WANTED = {"max": "more", "min": "less"}
_OPERATORS = {"mutate": "mutation", "mate": "mating", "eot": "Evolution of Thought", "rewrite": "rewriting", "splice": "splicing"}


def situation(
    prompts: Prompts, base: Genome, context: Context, parent: Individual, others: Mapping[str, Individual] = MappingProxyType({})
) -> str:
    """`parent`: whose program is edited. `others`: what else the prompt shows code of, by the part it plays."""
    brief, figures = context.brief, parent if parent.evidence.parameters_by_block else context.seed
    listed: dict[str, tuple[str, Individual]] = {}
    for part, one in {"Seed": context.seed, "Parent": parent, **others}.items():
        listed[one.id] = (f"{listed[one.id][0]}, the {part.lower()}" if one.id in listed else part, one)
    rest = _spread([one for one in context.front if one.id not in listed])
    listed |= {one.id: ("", one) for one in rest}
    return prompts.parts["situation"].fill(
        task=brief.task,
        facts=_bullets(f"{label}: {fact}" for label, fact in brief.facts.items() if fact.strip()),
        objectives=_bullets(_objective(o) for o in brief.objectives),
        constraints=", ".join(f"{c.name} {c.relation} {_number(c.bound)}" for c in brief.constraints),
        standing=_bullets(_standing(part, one, context) for part, one in listed.values()),
        figures_of=figures.id,
        parameters=_shares(figures.evidence.parameters_by_block),
        sizes=_sizes(figures.evidence.sizes_by_block),
        seconds=_seconds(figures.evidence.seconds),
        curve=_curve(figures.evidence.curve, figures.fitness),
        edited=names(differing(base, parent.genome)),
        memory=f"{figures.evidence.peak_memory / 2**20:,.0f} MiB" if figures.evidence.peak_memory else "",
        noise=_noise(context),
        lessons="\n\n".join(context.lessons.values()),
        guidance=fence(context.guidance, "text") if context.guidance else "",
        recent=_bullets(_recent(context, listed.keys())),
        under_way=_bullets(_begun(one) for one in context.under_way[-RECENT:]),
    )


def measured(individual: Individual, context: Context) -> str:
    """In words, with the change against the seed: `accuracy 0.9334 (+0.0082), parameters 518,126 (same)`."""
    if individual.id == SEED_ID:
        return _fitness(individual.fitness, context, None)
    noise, seed = context.brief.noise, context.seed.fitness
    return _fitness(individual.fitness, context, noise.usual(seed) if noise else seed)


def names(blocks: Iterable[str]) -> str:
    """A list of blocks for a sentence: `A`, `B`."""
    return ", ".join(f"`{name}`" for name in blocks)


def names_in_short(blocks: Sequence[str]) -> str:
    """The same with at most four names: `A`, `B`, `C`, `D` and 3 more."""
    return listed([f"`{name}`" for name in blocks])


def _objective(objective: Objective) -> str:
    marked = f" (self-reported: {objective.reported})" if objective.reported else ""
    return f"{objective.name}: {_WANTED[objective.direction]} is better{marked}"


def _standing(part: str, one: Individual, context: Context) -> str:
    """`Parent `0004`, on the front (mutation of `A`): accuracy 0.9 (+0.1). Intention: `...`.`, and what else it changed."""
    front = ", on the front" if one.id in context.on_front else ""
    if one.id == SEED_ID:
        return f"{part}{front}: {measured(one, context)}"
    changed = differing(one.genome, context.seed.genome)
    known = {*one.candidate.blocks, *one.changed}
    earlier = f". Differs from the seed in {names(changed)}" if set(changed) - known else ""
    deeds = _deeds(one.candidate, one.changed)
    return f"{part} `{one.id}`".strip() + f"{front} ({deeds}): {measured(one, context)}{_meant(one, context)}{earlier}"


def _deeds(candidate: Candidate, changed: Sequence[str] = ()) -> str:
    """What was done to the parents: `mating of A, then mutation "reduce size" of B`."""
    deeds = []
    for recipe in candidate.recipes:
        directive = f' "{recipe.directive.replace("_", " ")}"' if recipe.directive else ""
        blocks = names_in_short(recipe.blocks or [name for name in changed if name not in candidate.blocks])
        deeds.append(f"{_OPERATORS.get(recipe.operator, recipe.operator)}{directive}" + (f" of {blocks}" if blocks else ""))
    return ", then ".join(deeds)


def _begun(child: Candidate | Variant) -> str:
    """A child without measurements, its intention if it has its code already."""
    if isinstance(child, Variant):
        candidate, meant, changed = child.candidate, child.intention, child.changed
    else:
        candidate, meant, changed = child, "", ()
    told = f"{_deeds(candidate, changed)} in `{candidate.recipes[0].parents[0]}`"
    return f"{told}: {quote(meant, INTENTION)}" if meant else told


def _meant(child: Individual | Failure, context: Context) -> str:
    """Nothing for those whose lesson is told: it says so too."""
    told = not child.intention or child.id in context.lessons
    return "" if told else f". Intention: {quote(child.intention, INTENTION)}"


def _spread(front: Sequence[Individual]) -> Sequence[Individual]:
    """At most `FRONT` of them, from end to end."""
    last = len(front) - 1
    return front if last < FRONT else [front[round(i * last / (FRONT - 1))] for i in range(FRONT)]


def _recent(context: Context, shown: Collection[str]) -> list[str]:
    """What failed before any of its code ran says nothing of networks."""
    told = [
        child
        for child in context.recent
        if not (isinstance(child, Failure) and child.stage in INVALID_STAGES) and child.id not in {*shown, *context.lessons}
    ]
    return [
        f"`{child.id}` ({_deeds(child.candidate, child.changed)}): {_outcome(child, context)}{_meant(child, context)}"
        for child in told[-RECENT:]
    ]


def _outcome(child: Individual | Failure, context: Context) -> str:
    if isinstance(child, Failure):
        last = " ".join(child.log.split("\n")[-LAST_LINES:]).strip()
        tail = f", last output {quote(last)}" if last and last not in child.reason else ""
        return f"failed at {child.stage}: {quote(child.reason)}{tail}"
    return measured(child, context)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _fitness(fitness: Fitness, context: Context, against: Fitness | None) -> str:
    return ", ".join(
        f"{o.name} {_number(fitness[o.name])}"
        + (f" ({_change(fitness[o.name], against[o.name])}{_sigmas(o, fitness, against, context)})" if against else "")
        for o in context.brief.objectives
    )


def _sigmas(objective: Objective, fitness: Fitness, against: Fitness, context: Context) -> str:
    """The change in units of the noise, where there is some: `, +2.1 sigma`."""
    noise, change = context.brief.noise, fitness[objective.name] - against[objective.name]
    if noise is None or not noise.sigma[objective.name] or not change:
        return ""
    return f", {amount(objective, change, noise)}"


def _noise(context: Context) -> str:
    """`accuracy 0.0035 (mean 0.983), parameters none`: one sigma of each objective."""
    noise = context.brief.noise
    if noise is None or not any(noise.sigma.values()):
        return ""
    told = []
    for o in context.brief.objectives:
        sigma = noise.sigma[o.name]
        told.append(f"{o.name} {_rough(sigma)} (mean {_number(noise.reference[o.name])})" if sigma else f"{o.name} none")
    return ", ".join(told)


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


def _sizes(sizes: Mapping[str, Sequence[str]]) -> str:
    """`SE` 12x16x16, 48x8x8; `Net` 10."""
    return "; ".join(f"`{block}` {', '.join(found)}" for block, found in [*sizes.items()][:SHARES])


def _seconds(stages: Mapping[str, float]) -> str:
    each = ", ".join(f"{stage} {_rough(seconds)}" for stage, seconds in stages.items())
    return f"{_rough(sum(stages.values()))} s ({each})" if stages else ""


def _curve(rows: Sequence[tuple[float, ...]], fitness: Fitness) -> str:
    """First, middle and last epoch: enough to see whether it still learns, has settled or overfits; and by how much."""
    chosen = sorted({0, len(rows) // 2, len(rows) - 1}) if rows else []
    told = []
    for epoch in chosen:
        loss, *accuracy = rows[epoch][:2]
        told.append(f"epoch {epoch + 1} loss {loss:.3g}" + "".join(f", accuracy {share:.3g}" for share in accuracy))
    if chosen and len(rows[-1]) > 1 and "accuracy" in fitness.values:
        told.append(f"at the end, training minus validation accuracy is {rows[-1][1] - fitness['accuracy']:+.2g}")
    return "; ".join(told)
