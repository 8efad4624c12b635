"""Measurements as text for a prompt: values with their changes, noise, parameters, seconds and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.core.noise import SAME, STEP
from agent.core.objectives import Fitness, Objective
from agent.core.text import format_number, format_sigma, in_sigmas, quote
from agent.operators.context import Context
from agent.population.candidate import SEED_ID, Evidence, Individual

MAX_BLOCKS, MAX_CALLS, LEAST_SHARE = 5, 6, 0.03
"""The most blocks and calls of each whose figures are listed, and the least share of the parameters of a block."""
MAX_EPOCHS = 8
"""The most epochs of a curve that are listed."""


def changes(one: Individual, context: Context) -> dict[str, float]:
    """Each objective minus that of the program it was made from, in the objective's unit; empty for the seed or if unknown.

    Changes of the seed are counted from its mean over training seeds.
    """
    parent = context.parent_of(one)
    if parent is None:
        return {}
    reference = context.noise.mean_of_seed(parent.fitness) if parent.id == SEED_ID else parent.fitness
    return {o.name: one.fitness[o.name] - reference[o.name] for o in context.brief.objectives}


def gains(context: Context) -> dict[str, float]:
    """By id: what each individual's own change brought, in units that weigh alike, as far as chance does not explain it.

    0 for the seed, and for individuals whose parent is not known here.
    """
    noise, found = context.noise, dict.fromkeys(context.known, 0.0)
    chance: dict[tuple[str, int, int], float] = {}  # there may be thousands of individuals
    for one in context.known.values():
        if (parent := context.parent_of(one)) is None:
            continue
        counts = one.trainings, _trainings(parent, context)
        for o in context.brief.objectives:
            key = (o.name, *counts)
            if key not in chance:
                sigma, exact = noise.sigma[o.name], SAME * abs(noise.reference[o.name])
                chance[key] = noise.band(o.name, trainings=counts[0], against=counts[1]) if sigma else exact
            reference = noise.mean_of_seed(parent.fitness) if parent.id == SEED_ID else parent.fitness
            change = one.fitness[o.name] - reference[o.name]
            if abs(change) > chance[key]:
                found[one.id] += noise.gain(o, change, parent.fitness[o.name])
    return found


def describe_value(objective: Objective, one: Individual, context: Context) -> str:
    """A value with what its own change brought: `0.9334 (+2.1 sigma, undecided)`, `371,204 (-28.4%)`, `0.9334` for the seed."""
    value, change = one.fitness[objective.name], changes(one, context).get(objective.name)
    parent = context.parent_of(one)
    if change is None or parent is None:
        return format_number(value)
    if not change:
        return f"{format_number(value)} (same)"
    sigma = context.noise.sigma[objective.name]
    if not sigma:
        return f"{format_number(value)} ({_exact_change(change, value - change)})"
    word = context.noise.judge(objective, change, trainings=one.trainings, against=_trainings(parent, context)).word
    return f"{format_number(value)} ({in_sigmas(change / sigma)}, {word})"


def describe_fitness(one: Individual, context: Context) -> str:
    """Each objective with the change: `accuracy 0.9334 (+2.1 sigma, undecided), parameters 518,126 (same)`.

    Of a child that was trained more than once: `..., the mean of 3 trainings`.
    """
    values = ", ".join(f"{o.name} {describe_value(o, one, context)}" for o in context.brief.objectives)
    return f"{values}, the mean of {one.trainings} trainings" if one.trainings > 1 and one.id != SEED_ID else values


def describe_parameters(evidence: Evidence) -> str:
    """By block, largest first, with each call: "`SE` 6,420 (80%): 12x16x16 612, 48x8x8 5,808; `Net` 1,610 (20%): 10 1,610"."""
    parameters = evidence.parameters_by_block
    total = sum(parameters.values())
    ranked = sorted(parameters.items(), key=lambda item: -item[1])
    large = [(block, count) for block, count in ranked[:MAX_BLOCKS] if count >= LEAST_SHARE * total > 0]
    shown = [_block_parameters(block, count, total, evidence) for block, count in large]
    rest = total - sum(count for _, count in large)
    return "; ".join([*shown, f"all others {rest:,}"] if rest else shown)


NAME_LIMIT = 40
"""Characters of the name of a part, which is the candidate's own text."""


def describe_parts(evidence: Evidence) -> str:
    """By the names in the model's state: "`ladder` 2,432, `stem` 288"; empty where there is one part, or none is known."""
    parts = evidence.parameters_by_part
    return ", ".join(f"{quote(name, NAME_LIMIT)} {count:,}" for name, count in parts.items()) if len(parts) > 1 else ""


def _block_parameters(block: str, count: int, total: int, evidence: Evidence) -> str:
    calls = evidence.calls_by_block.get(block, ())
    each = ", ".join(f"{size} {held:,}" if held and held != count else size for size, held in calls[:MAX_CALLS])
    if len(calls) > MAX_CALLS:
        each += f" and {len(calls) - MAX_CALLS} more"
    return f"`{block}` {count:,} ({count / total:.0%})" + (f": {each}" if each else "")


def describe_seconds(evidence: Evidence) -> str:
    """The wall time, total and of the longest stage, the memory and the device: `15 s (fit 12) and 300 MiB on cpu`."""
    stages = evidence.seconds
    if not stages:
        return ""
    longest = max(stages, key=lambda stage: stages[stage])
    memory = f" and {evidence.peak_memory / 2**20:,.0f} MiB" if evidence.peak_memory else ""
    return f"{total_seconds(stages)} ({longest} {_two_digits(stages[longest])}){memory} on {evidence.device}"


def describe_curve(rows: Sequence[tuple[float, ...]], fitness: Fitness) -> str:
    """Loss and accuracy of each epoch, of long curves evenly thinned, and how far apart training and validation end."""
    last = len(rows) - 1
    chosen = range(len(rows)) if last < MAX_EPOCHS else [round(i * last / (MAX_EPOCHS - 1)) for i in range(MAX_EPOCHS)]
    parts = [f"{epoch + 1}: " + " ".join(f"{value:.3g}" for value in rows[epoch][:2]) for epoch in chosen]
    text = ", ".join(parts)
    if rows and len(rows[-1]) > 1 and "accuracy" in fitness.values:
        text += f"; at the end training minus validation accuracy is {rows[-1][1] - fitness['accuracy']:+.2g}"
    return text


def describe_mistakes(evidence: Evidence) -> str:
    """`120 of 412 are Shirt as Coat, 60 Coat as Shirt`; empty if nothing was classified, or all of it right."""
    if not evidence.mistakes:
        return ""
    *kinds, (_, total) = evidence.mistakes
    told = [f"{count:,}{f' of {total:,} are' if not place else ''} {kind}" for place, (kind, count) in enumerate(kinds)]
    return ", ".join(told) or f"{total:,}, no two of them alike"


def training_accuracy(evidence: Evidence) -> str:
    """Of the last epoch, as the training reported it; a dash if it reported none."""
    last = evidence.curve[-1] if evidence.curve else ()
    return f"{last[1]:.3g}" if len(last) > 1 else "-"


def total_seconds(stages: Mapping[str, float]) -> str:
    return f"{_two_digits(sum(stages.values()))} s" if stages else "-"


def describe_units(context: Context) -> str:
    """`one sigma of accuracy over training seeds (0.0036; the seed's mean is 0.8429), a step of 10% in parameters`.

    Empty where there is one objective without noise: nothing has to be weighed.
    """
    noise, objectives = context.noise, context.brief.objectives
    if len(objectives) == 1 and not noise.sigma[objectives[0].name]:
        return ""
    return ", ".join(
        f"one sigma of {o.name} over training seeds ({format_sigma(noise.sigma[o.name])}; the seed's mean is "
        f"{format_number(noise.reference[o.name])})"
        if noise.sigma[o.name]
        else f"a step of 10% in {o.name}"
        for o in objectives
    )


def describe_large_step(context: Context) -> str:
    """Five units of each objective: `0.018 in accuracy or 38% in parameters`."""
    noise, share = context.noise, 1 - 2.718281828 ** (-5 * STEP)
    return " or ".join(
        f"{_two_digits(5 * noise.sigma[o.name])} in {o.name}" if noise.sigma[o.name] else f"{share:.0%} in {o.name}"
        for o in context.brief.objectives
    )


def _trainings(one: Individual, context: Context) -> int:
    return context.noise.trainings if one.id == SEED_ID else one.trainings


def _exact_change(change: float, before: float) -> str:
    """A share of the value that changed: one validation image more is a change of 0.0028, two digits are enough."""
    if abs(before) >= 1000 and abs(change / before) >= 0.0005:
        return f"{change / before:+.1%}"
    return ("+" if change > 0 else "-") + _two_digits(abs(change))


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
