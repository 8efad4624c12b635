"""Fix, at the start of a run, the settings that follow from what it may spend: the first population and the operators' shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.budget import Budget, Guess
from agent.llm import price
from agent.population.candidate import Individual
from agent.run.config import Config
from agent.search.first import first_warning

_CHARACTERS = 3.5
"""Characters of a token, in code and in prompts about it."""
_PROMPT, _ANSWER = 4.0, 1.3
"""How many times as long as the program a prompt and an answer are, repairs included."""
_REASONING = 1_000
"""Tokens of an answer besides the program."""


def sized(config: Config, seed: Individual, slots: int, guess: Guess) -> tuple[Config, str]:
    """The configuration without any `auto` in `[search]`; and a sentence if its first population would eat the budget, else "".

    `seed`: the trained seed; `guess`: what one candidate is assumed to cost.
    """
    children, reads = affordable_children(config, seed, slots, guess), reads_prompts(config.llm.models)
    search = config.search.for_run(children, reads=reads)
    planned = search.candidates if children is None else min(children, search.candidates)
    return config.model_copy(update={"search": search}), first_warning(
        search.first, planned, search.first_operator, reads=reads
    )


def reads_prompts(models: Sequence[str]) -> bool:
    """Whether some model reads its prompt; the rules of `offline` look at the code alone."""
    return any(model != "offline" for model in models)


def affordable_children(config: Config, seed: Individual, slots: int, guess: Guess) -> int | None:
    """About how many children the limits allow; None if no limit says so, or nothing is known of what a child takes of it."""
    limits = config.limits.for_search(config.confirm.at_end)
    budget = Budget(limits, slots=slots, concurrency=config.llm.concurrency, guess=guess)
    found = [budget.affordable_evaluations()]
    if limits.variants is not None:
        found.append(float(limits.variants))
    characters = sum(len(text) for text in seed.genome.files.values())
    asked, answered = characters * _PROMPT / _CHARACTERS, characters * _ANSWER / _CHARACTERS + _REASONING
    if limits.usd is not None:
        prices = [known for model in config.llm.models if (known := price(model, config.llm.prices))]
        dearest = max((asked * one[0] + answered * one[1] for one in prices), default=0.0)
        found.append(limits.usd * limits.share / dearest if dearest else None)
    if limits.tokens is not None and reads_prompts(config.llm.models):
        found.append(limits.tokens / (asked + answered))
    counts = [children for children in found if children is not None]
    return max(1, math.floor(min(counts))) if counts else None
