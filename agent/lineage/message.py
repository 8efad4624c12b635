"""Write the commit message of an individual or a failure: what changed and what it did, then trailers for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from agent.core.effects import Against, table
from agent.core.objectives import Objective
from agent.core.text import clean, format_number, list_names, one_line
from agent.population.candidate import SEED_ID, Failure, Individual

_REASON = 4000
"""Characters of a failure's reason, or of an intention, in a commit message."""
_SUBJECT = 100
"""Characters of the first line, if the changes of the objectives leave any for the intention."""
_LONGEST = 200
"""And in any case."""
_BLOCKS, _FEWEST = 32, 20
"""Characters of the blocks in the first line at most, and of an intention that is worth its place there at least."""
_WIDTH = 100
"""Characters of a line of the text below."""
ONE_TRAINING = "By the first training. Means of more, and verdicts, stand in git notes: git log --notes='evolve/*'"


def commit_message(
    outcome: Individual | Failure,
    against: Sequence[Against],
    objectives: Sequence[Objective],
    usd: float | None = None,
    models: Sequence[str] = (),
    *,
    is_priced: bool = True,
) -> str:
    """Return the message: first text for a reviewer, then trailers for programs.

    `against`: an individual measured against its parents and, at the end, the seed; `usd`: what the model calls have cost;
    `models`: the models that answered, if these are not those of the recipes; `is_priced`: whether the price of each is known.
    """
    blocks = list_names(outcome.candidate.about(outcome.changed))
    models = models or [*dict.fromkeys(r.model for r in outcome.candidate.recipes if r.model)]
    if isinstance(outcome, Failure):
        # Indented: at the margin, a line of `---` would end the message for git and lift trailers out of the reason.
        body = [textwrap.indent("\n".join(clean(outcome.reason[:_REASON]).splitlines()), "    ").rstrip()]
    else:
        body = _measured(against)
    trailers = "\n".join(
        one_line(f"{key}: {value}") for key, value in _trailers(outcome, blocks, objectives, usd, models).items() if value
    )
    parts = (
        _subject(outcome, against, objectives),
        _wrapped(f"Intention: {one_line(outcome.intention, _REASON)}" if outcome.intention else ""),
        *body,
        _wrapped(_origin(outcome, blocks, models, _price(usd, is_priced=is_priced))),
        "\n".join(one_line(f"{o.name} is self-reported: {o.reported}.") for o in objectives if o.reported),
        trailers,
    )
    return "\n\n".join(part for part in parts if part)


def _subject(outcome: Individual | Failure, against: Sequence[Against], objectives: Sequence[Objective]) -> str:
    """`SELN: hard-sigmoid gate; accuracy +0.4 pt (likely real), parameters -12.0%`."""
    candidate = outcome.candidate
    if candidate.id == SEED_ID:
        assert isinstance(outcome, Individual), "a run whose seed fails has no commits"
        values = ", ".join(f"{o.name} {format_number(outcome.fitness[o.name])}" for o in objectives)
        return one_line(f"{SEED_ID}: {values}")[:_LONGEST]
    end = f"failed at {outcome.stage}" if isinstance(outcome, Failure) else against[-1].brief
    names = candidate.about(outcome.changed)
    end = one_line(end, _LONGEST - _BLOCKS)
    left = _SUBJECT - len(end) - len(": ; ")
    start = _named(names, min(_BLOCKS, left - min(_FEWEST, len(outcome.intention)))) or candidate.operator
    room = left - len(start)
    what = _few_words(outcome.intention, room) or (candidate.operator if names else "")  # else the operator stands before
    return one_line(f"{start}: {what}; {end}" if what else f"{start}: {end}")


def _named(names: Sequence[str], room: int) -> str:
    """As many names as there is room for, one at least."""
    lists = [one_line(list_names(names, most)) for most in (3, 2, 1)]
    return next((text for text in lists if len(text) <= room), one_line(lists[-1], _BLOCKS))


def _few_words(intention: str, room: int) -> str:
    """As much of an intention as there is room for; nothing if that would be too little of it."""
    whole = one_line(intention, _REASON).rstrip(" ;:.")
    if len(whole) <= room:
        return whole
    words = whole[: max(0, room - 2)].rpartition(" ")[0].rstrip(" ,;:.")
    return f"{words}..." if room >= _FEWEST and words else ""


def _measured(against: Sequence[Against]) -> list[str]:
    """The measured values against the parents' and the seed's, and what may be said of them; nothing for the seed itself."""
    if not against:
        return []
    *parents, seed = against
    lines = textwrap.indent("\n".join(table("this", against)), "    ")
    verdicts = [f"Verdict against {one.label}: {one.verdict}." for one in (seed, *parents)]
    return [lines, "\n".join([*(_wrapped(text) for text in dict.fromkeys(verdicts)), ONE_TRAINING])]


def _origin(outcome: Individual | Failure, blocks: str, models: Sequence[str], price: str) -> str:
    """`Made by mutate (role expert, directive complex) of SELN, from 0003, with gpt-x for 0.0125 USD.`"""
    candidate = outcome.candidate
    if candidate.id == SEED_ID:
        return ""
    asked = [f"{name} {value}" for name, value in (("role", candidate.role), ("directive", candidate.directive)) if value]
    text = f"Made by {candidate.operator}"
    text += f" ({', '.join(asked)})" if asked else ""
    text += f" of {blocks}" if blocks else ""
    text += f", from {list_names(candidate.parents)}" if candidate.parents else ""
    text += f", with {list_names(models)}" if models else ", without a model"
    return one_line(f"{text}{price if models else ''}.")


def _price(usd: float | None, *, is_priced: bool) -> str:
    if usd is None:
        return ""
    if is_priced:
        return f" for {usd:.4f} USD"
    return f" for {usd:.4f} USD and calls of unknown price" if usd else ", price unknown"


def _wrapped(text: str) -> str:
    """Later lines are indented: at the margin, one could be read as something else."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


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
        "Model": ", ".join(models),
    }
    if isinstance(outcome, Individual):
        trailers |= {o.name.replace("_", "-").capitalize(): f"{outcome.fitness[o.name]:.10g}" for o in objectives}
    trailers["Self-reported"] = ", ".join(o.name for o in objectives if o.reported)
    if usd is not None:
        trailers["Cost-USD"] = f"{usd:.6f}"
    return trailers
