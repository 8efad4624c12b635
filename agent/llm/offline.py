"""A model that needs no key and no network: it reads the same prompts and answers in the same form as an LLM.

Its answers are rule-based rewrites, chosen by the prompt's directive and the request's seed: the classical
genetic-programming baseline that LLMs have to beat.
"""

from __future__ import annotations

import random
import re
import time

from agent.core.text import fence
from agent.llm.protocol import Completion, Message, Request
from agent.llm.text import estimated_usage

_FENCE = r"(?:(?!## |`{3}).*\n)*(?P<ticks>`{3,})python\n(?P<code>(?s:.*?))\n(?P=ticks)$"
"""The next fence, if no heading comes before it. In the fence there may be anything, a comment like a heading too."""
_FILE = re.compile(r"\n*(?:`(?P<path>[^`\n]+)`:\n+)?(?P<ticks>`{3,})python\n(?P<code>(?s:.*?))\n(?P=ticks)(?:\n|$)")


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
        return _told(change.description, change.imports, change.source)
    block = _section(prompt, r"Block to rewrite: `[^`]+`")
    if block is None:
        return _whole(prompt, rng)
    before, after = _section(prompt, r"The seed's `[^`]+`"), _section(prompt, r"The elite's `[^`]+`")
    change_or_none = transfer(before, after, block, rng) if before and after else mutate(block, _directive(prompt), rng)
    if change_or_none is None:
        return _told("leave the block as it is: no rule fits it", "", block)
    return _told(change_or_none.description, change_or_none.imports, change_or_none.source)


def _whole(prompt: str, rng: random.Random) -> str:
    """The answer to a prompt that shows the whole program."""
    from agent.genome import Genome
    from agent.genome.rewrites import apply_insight, revise

    files = _program(prompt)
    if not files:
        return "Intention: none, for the prompt shows no block.\nExpected effect: none."
    said = re.findall(r"^Frozen: (.+?)\.(?: |$)", prompt, re.MULTILINE)
    names = set(re.findall(r"`(\w+)`", said[-1])) if said else set()
    genome = Genome(files, frozenset(b.name for b in Genome(files).all_blocks if b.name.rpartition(":")[2] in names))
    shown = re.search(rf"^## The elite's change[ ]*\n{_FENCE.replace('python', 'diff')}", prompt, re.MULTILINE)
    if shown:
        lines = shown["code"].splitlines()
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in f" {sign}") for sign in "-+")
        change = apply_insight(before, after, genome, rng)
    else:
        change = revise(genome, _directive(prompt), rng)
    if change is None:
        return "Intention: leave the program as it is, for no rule fits it.\nExpected effect: none."
    return _told(change.description, change.imports, change.source)


def _program(prompt: str) -> dict[str, str]:
    """The files below the heading `Program`, by path where the prompt names it."""
    found = re.search(r"^## Program[ ]*\n(?:(?!## |`).*\n)*", prompt, re.MULTILINE)
    files: dict[str, str] = {}
    place = found.end() if found else len(prompt)
    while file := _FILE.match(prompt, place):
        files[file["path"] or "model.py"] = file["code"] + "\n"
        place = file.end()
    return files


def _directive(prompt: str) -> str:
    found = re.search(r"^## Directive: (.+)$", prompt, re.MULTILINE)
    return found[1].strip() if found else "parameters"


def _section(prompt: str, heading: str) -> str | None:
    """The first Python fence below a heading of this form, before the next heading."""
    found = re.search(rf"^## {heading}[ ]*\n{_FENCE}", prompt, re.MULTILINE)
    return found["code"] + "\n" if found else None


def _told(deed: str, imports: str, source: str) -> str:
    code = f"{imports}\n\n\n{source.strip()}" if imports else source.strip()
    return f"Intention: {deed}.\nExpected effect: unknown.\n\n{fence(code, 'python')}\n"
