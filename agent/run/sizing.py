"""Fix, at the start of a run, the settings that follow from what it may spend: the first population and the operators' shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from agent.budget import Budget, Guess
from agent.journal.events import SearchSized
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


def size(config: Config, seed: Individual, slots: int, gpus: float) -> tuple[SearchSized, str]:
    """What every `auto` in `[search]` stands for in this run; and a sentence if its first population would eat the budget.

    `seed`: the trained seed; `gpus`: how many GPUs an evaluation holds. A candidate is assumed to take as long as the seed.
    """
    seconds = sum(seed.evidence.seconds.values())
    guess = Guess(evaluation_seconds=seconds, gpu_seconds=seconds * gpus)
    children, reads = affordable_children(config, seed, slots, guess), reads_prompts(config.llm.models)
    search = config.search.for_run(children, reads=reads)
    planned = search.candidates if children is None else min(children, search.candidates)
    warning = first_warning(search.first, planned, search.first_operator, reads=reads)
    return SearchSized(search.first, search.first_operator, search.shares), warning


def with_sizes(config: Config, sizes: SearchSized) -> Config:
    """The configuration with every `auto` in `[search]` replaced; what the user has set stays."""
    search = config.search
    fixed = replace(
        search,
        first_population=sizes.first_population if search.first_population == "auto" else search.first_population,
        first_operator=cast(Any, sizes.first_operator) if search.first_operator == "auto" else search.first_operator,
        operators=sizes.operators if search.operators == "auto" else search.operators,
    )
    return config.model_copy(update={"search": fixed})


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
