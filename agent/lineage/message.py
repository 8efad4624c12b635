"""Write the commit message of an individual or a failure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from agent.core.objectives import Objective
from agent.core.text import clean, format_number, list_names, one_line
from agent.population.candidate import SEED_ID, Failure, Individual

_REASON = 4000
"""Characters of a failure's reason in a commit message."""
_SUBJECT = 200
"""Characters of the first line."""
ONE_TRAINING = "By the first training. Means of more, and verdicts, stand in git notes: git log --notes='evolve/*'"


def commit_message(
    outcome: Individual | Failure,
    seed: Individual,
    objectives: Sequence[Objective],
    usd: float | None = None,
    models: Sequence[str] = (),
) -> str:
    """Return the message: first text for a reviewer, then trailers for programs.

    `usd`: what the model calls have cost; `models`: the models that answered, if these are not those of the recipes.
    """
    candidate = outcome.candidate
    blocks = list_names(candidate.about(outcome.changed))
    what = "" if candidate.id == SEED_ID else f" {candidate.operator} {blocks}".rstrip() + ":"
    if isinstance(outcome, Failure):
        subject = f"{outcome.id}:{what} failed at {outcome.stage}"
        # Indented: at the margin, a line of `---` would end the message for git and lift trailers out of the reason.
        body = textwrap.indent("\n".join(clean(outcome.reason[:_REASON]).splitlines()), "    ").rstrip()
    else:
        subject = f"{outcome.id}:{what} " + ", ".join(f"{o.name} {format_number(outcome.fitness[o.name])}" for o in objectives)
        body = "" if candidate.id == SEED_ID else _comparison(outcome, seed, objectives)
    intention = f"Intention: {one_line(outcome.intention)}" if outcome.intention else ""
    warning = "\n".join(one_line(f"{o.name} is self-reported: {o.reported}.") for o in objectives if o.reported)
    trailers = "\n".join(
        one_line(f"{key}: {value}") for key, value in _trailers(outcome, blocks, objectives, usd, models).items() if value
    )
    return "\n\n".join(part for part in (one_line(subject)[:_SUBJECT], intention, body, warning, trailers) if part)


def _comparison(individual: Individual, seed: Individual, objectives: Sequence[Objective]) -> str:
    changes = [
        f"{o.name} {format_number(seed.fitness[o.name])} -> {format_number(individual.fitness[o.name])}" for o in objectives
    ]
    return f"Against the seed: {', '.join(changes)}\n{ONE_TRAINING}"


def _trailers(
    outcome: Individual | Failure, blocks: str, objectives: Sequence[Objective], usd: float | None, models: Sequence[str]
) -> dict[str, str]:
    """The trailers in their order. The caller leaves out empty values."""
    candidate = outcome.candidate
    trailers = {
        "Variant": outcome.id,
        "Operator": candidate.operator,
        "Block": blocks,
        "Sources": ", ".join(dict.fromkeys(id for recipe in candidate.recipes for id in recipe.sources)),
        "Role": candidate.role or "",
        "Directive": candidate.directive or "",
        "Model": ", ".join(models or dict.fromkeys(r.model for r in candidate.recipes if r.model)),
    }
    if isinstance(outcome, Individual):
        trailers |= {o.name.replace("_", "-").capitalize(): f"{outcome.fitness[o.name]:.10g}" for o in objectives}
    trailers["Self-reported"] = ", ".join(o.name for o in objectives if o.reported)
    if usd is not None:
        trailers["Cost-USD"] = f"{usd:.6f}"
    return trailers
