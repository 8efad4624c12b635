"""Measurements as text for a prompt: fitness against the seed, noise, parameters, sizes, seconds and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.core.noise import amount
from agent.core.objectives import Fitness, Objective
from agent.core.text import format_number
from agent.operators.context import Context
from agent.population.candidate import SEED_ID, Individual

MAX_BLOCKS = 12
"""The most blocks whose figures are listed: the candidate chooses the blocks' names, which may be hostile."""


def describe_fitness(individual: Individual, context: Context) -> str:
    """Each objective with the change against the seed: `accuracy 0.9334 (+0.0082, +2.1 sigma), parameters 518,126 (same)`.

    Of one that was trained more than once: `..., the mean of 3 trainings`.
    """
    fitness, noise, seed = individual.fitness, context.brief.noise, context.seed.fitness
    if individual.id == SEED_ID:
        return ", ".join(f"{o.name} {format_number(fitness[o.name])}" for o in context.brief.objectives)
    reference = noise.mean_of_seed(seed) if noise else seed
    values = ", ".join(
        f"{o.name} {format_number(fitness[o.name])} "
        f"({_change(fitness[o.name], reference[o.name])}{_in_sigmas(o, fitness, reference, context)})"
        for o in context.brief.objectives
    )
    return f"{values}, the mean of {individual.trainings} trainings" if individual.trainings > 1 else values


def describe_noise(context: Context) -> str:
    """One sigma of each objective: `accuracy 0.0035 (mean 0.983), parameters none`. Empty if there is no noise."""
    noise = context.brief.noise
    if noise is None or not any(noise.sigma.values()):
        return ""
    parts = []
    for o in context.brief.objectives:
        sigma = noise.sigma[o.name]
        mean = format_number(noise.reference[o.name])
        parts.append(f"{o.name} {_two_digits(sigma)} (mean {mean})" if sigma else f"{o.name} none")
    return ", ".join(parts)


def describe_parameters(parameters: Mapping[str, int]) -> str:
    """By block, largest first, without those that have none: `Net` 5,130 (81%), `SE` 1,200 (19%)."""
    total = sum(parameters.values())
    ranked = sorted(parameters.items(), key=lambda item: -item[1])
    shown = [
        f"`{block}` {count:,} ({f'{count / total:.0%}' if count / total >= 0.005 else 'under 1%'})"
        for block, count in ranked[:MAX_BLOCKS]
        if count
    ]
    rest = sum(count for _, count in ranked[MAX_BLOCKS:])
    return ", ".join([*shown, f"all others {rest:,}"] if rest else shown)


def describe_sizes(sizes: Mapping[str, Sequence[str]]) -> str:
    """What each block returns: `SE` 12x16x16, 48x8x8; `Net` 10."""
    return "; ".join(f"`{block}` {', '.join(returned)}" for block, returned in [*sizes.items()][:MAX_BLOCKS])


def describe_seconds(stages: Mapping[str, float]) -> str:
    """The wall time, total and of each stage: `15 s (smoke 0.15, fit 12, predict 2)`."""
    each = ", ".join(f"{stage} {_two_digits(seconds)}" for stage, seconds in stages.items())
    return f"{_two_digits(sum(stages.values()))} s ({each})" if stages else ""


def describe_curve(rows: Sequence[tuple[float, ...]], fitness: Fitness) -> str:
    """First, middle and last epoch: enough to see whether the model still learns, has converged or overfits, and how much."""
    chosen = sorted({0, len(rows) // 2, len(rows) - 1}) if rows else []
    parts = []
    for epoch in chosen:
        loss, *accuracy = rows[epoch][:2]
        parts.append(f"epoch {epoch + 1} loss {loss:.3g}" + "".join(f", accuracy {share:.3g}" for share in accuracy))
    if chosen and len(rows[-1]) > 1 and "accuracy" in fitness.values:
        parts.append(f"at the end, training minus validation accuracy is {rows[-1][1] - fitness['accuracy']:+.2g}")
    return "; ".join(parts)


def _change(value: float, reference: float) -> str:
    """The difference with two digits, which are enough: one validation image more is a change of 0.0028."""
    if value == reference:
        return "same"
    if abs(reference) >= 1000 and abs(value / reference - 1) >= 0.0005:
        return f"{value / reference - 1:+.1%}"
    return ("+" if value > reference else "-") + _two_digits(abs(value - reference))


def _in_sigmas(objective: Objective, fitness: Fitness, reference: Fitness, context: Context) -> str:
    """The change in units of the noise: `, +2.1 sigma`; empty without noise or without a change."""
    noise, change = context.brief.noise, fitness[objective.name] - reference[objective.name]
    if noise is None or not noise.sigma[objective.name] or not change:
        return ""
    return f", {amount(objective, change, noise)}"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
