"""What a commit says of its individual or failure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from agent.core.objectives import Objective
from agent.core.text import clean
from agent.population.candidate import SEED_ID, Failure, Individual, listed

_REASON = 4000
"""Characters of a failure's reason in a commit message."""


def message(
    outcome: Individual | Failure,
    seed: Individual,
    objectives: Sequence[Objective],
    usd: float | None = None,
    models: Sequence[str] = (),
) -> str:
    """What a reviewer reads first, then trailers for programs. `models`: those that answered, if not those that were drawn."""
    candidate = outcome.candidate
    blocks = candidate.about(outcome.changed)
    what = "" if candidate.id == SEED_ID else f" {candidate.operator} {listed(blocks)}".rstrip() + ":"
    trailers = {"Variant": outcome.id, "Operator": candidate.operator, "Block": listed(blocks)}
    trailers |= {"Role": candidate.role or "", "Directive": candidate.directive or ""}
    trailers["Model"] = ", ".join(models or dict.fromkeys(r.model for r in candidate.recipes if r.model))
    if isinstance(outcome, Failure):
        subject = f"{outcome.id}:{what} failed at {outcome.stage}"
        # Indented: at the margin, a line of `---` would end the message for git and lift trailers out of the reason.
        body = textwrap.indent("\n".join(clean(outcome.reason[:_REASON]).splitlines()), "    ").rstrip()
    else:
        values = outcome.fitness
        subject = f"{outcome.id}:{what} " + ", ".join(f"{o.name} {_number(values[o.name])}" for o in objectives)
        body = (
            ""
            if candidate.id == SEED_ID
            else "Against the seed: "
            + ", ".join(f"{o.name} {_number(seed.fitness[o.name])} -> {_number(values[o.name])}" for o in objectives)
        )
        trailers |= {o.name.replace("_", "-").capitalize(): f"{values[o.name]:.10g}" for o in objectives}
    reported = [o for o in objectives if o.reported]
    trailers["Self-reported"] = ", ".join(o.name for o in reported)
    warning = "\n".join(f"{o.name} is self-reported: {o.reported}." for o in reported)
    meant = f"Intention: {_line(outcome.intention)}" if outcome.intention else ""
    if usd is not None:
        trailers["Cost-USD"] = f"{usd:.6f}"
    told = "\n".join(f"{key}: {_line(value)}" for key, value in trailers.items() if value)
    return "\n\n".join(part for part in (_line(subject)[:200], meant, body, warning, told) if part)


def _line(text: str) -> str:
    return clean(" ".join(text.split()))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
