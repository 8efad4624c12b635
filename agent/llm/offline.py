"""A model that needs no key and no network: it reads the same prompts and answers in the same form as an LLM.

Its answers are rule-based rewrites, chosen by the prompt's directive and the request's seed: the classical
genetic-programming baseline that LLMs have to beat.
"""

from __future__ import annotations

import random
import re
import time

from agent.llm.protocol import Completion, Message, Request
from agent.llm.text import estimated_usage
from agent.prompting import fence

_FENCE = r"(?:(?!## |`{3}).*\n)*(?P<ticks>`{3,})python\n(?P<code>(?s:.*?))\n(?P=ticks)$"
"""The next fence, if no heading comes before it. In the fence there may be anything, a comment like a heading too."""


class OfflineModel:
    """Deterministic in the messages and the seed of a request."""

    patient = False

    name = "offline"

    def complete(self, request: Request) -> Completion:
        began = time.monotonic()
        text = _answer(request.messages, request.seed)
        return Completion(text, "stop", estimated_usage(request, text), 0.0, time.monotonic() - began, self.name)

    def close(self) -> None:
        return None


def _answer(messages: tuple[Message, ...], seed: int) -> str:
    from agent.genome.rewrites import merge, mutate, transfer

    prompt = next(m.text for m in messages if m.role == "user")
    # Repaired answers are another draw: what was wrong with the first is beyond rules.
    rng = random.Random(f"{seed}/{len(messages)}")
    a, b = (_section(prompt, rf"Version {letter} of `[^`]+`") for letter in "AB")
    if a and b:
        change = merge(a, b, rng)
        return _told(change.told, change.imports, change.source)
    block = _section(prompt, r"Block to rewrite: `[^`]+`")
    if block is None:
        return "Intention: none, for the prompt shows no block.\nExpected effect: none."
    before, after = _section(prompt, r"The seed's `[^`]+`"), _section(prompt, r"The elite's `[^`]+`")
    if before and after:
        change_or_none = transfer(before, after, block, rng)
    else:
        directive = re.search(r"^## Directive: (.+)$", prompt, re.MULTILINE)
        change_or_none = mutate(block, directive[1].strip() if directive else "parameters", rng)
    if change_or_none is None:
        return _told("leave the block as it is: no rule fits it", "", block)
    return _told(change_or_none.told, change_or_none.imports, change_or_none.source)


def _section(prompt: str, heading: str) -> str | None:
    """The first Python fence below a heading of this form, before the next heading."""
    found = re.search(rf"^## {heading}[ ]*\n{_FENCE}", prompt, re.MULTILINE)
    return found["code"] + "\n" if found else None


def _told(deed: str, imports: str, source: str) -> str:
    code = f"{imports}\n\n\n{source.strip()}" if imports else source.strip()
    return f"Intention: {deed}.\nExpected effect: unknown.\n\n{fence(code, 'python')}\n"
