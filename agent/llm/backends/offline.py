"""The model `offline` needs no key and no network: it reads the same prompts as an LLM and answers in the same form.

Its answers are rule-based rewrites, chosen by the prompt's directive and the request's seed. It is also the classical
genetic-programming baseline that an LLM has to beat.
"""

from __future__ import annotations

import random
import re
import time

from agent.core.text import fence
from agent.llm.base import Completion, LlmSettings, Message, Request
from agent.llm.text import estimate_usage

_FENCE = r"(?:(?!## |`{3}).*\n)*(?P<ticks>`{3,}+)python\n(?P<code>(?s:.*?))\n(?P=ticks)$"
"""The next fence, if no heading comes before it. The code may hold anything, a comment that looks like a heading too."""
_DIFF = _FENCE.replace("python", "diff")
_FILE = re.compile(r"\n*(?:`(?P<path>[^`\n]+)`:\n+)?(?P<ticks>`{3,}+)python\n(?P<code>(?s:.*?))\n(?P=ticks)(?:\n|$)")

_NAME = "offline"


def accepts(name: str, settings: LlmSettings) -> bool:
    return name == _NAME


def open_model(name: str, settings: LlmSettings) -> OfflineModel:
    return OfflineModel()


class OfflineModel:
    """A `LanguageModel` whose answer depends on the messages and the seed of a request alone."""

    name = _NAME
    waits_for_person = False

    def complete(self, request: Request) -> Completion:
        started = time.monotonic()
        text = _answer(request.messages, request.seed)
        return Completion(text, "stop", estimate_usage(request, text), 0.0, time.monotonic() - started, self.name)

    def close(self) -> None:
        """Does nothing."""


def _answer(messages: tuple[Message, ...], seed: int) -> str:
    from agent.genome.rewrites import merge, mutate, transfer

    prompt = next(m.text for m in messages if m.role == "user")
    # A repair is a new random choice: no rule could correct what was wrong with the first answer.
    rng = random.Random(f"{seed}/{len(messages)}")
    a, b = (_section(prompt, rf"Version {letter} of `[^`]+`") for letter in "AB")
    if a and b:
        change = merge(a, b, rng)
        return _rendered(change.description, change.imports, change.source)
    block = _section(prompt, r"Block to rewrite: `[^`]+`")
    if block is None:
        return _answer_for_program(prompt, rng, combines=len(messages) <= 2)
    before, after = _section(prompt, r"The seed's `[^`]+`"), _section(prompt, r"The elite's `[^`]+`")
    change_or_none = transfer(before, after, block, rng) if before and after else mutate(block, _directive(prompt), rng)
    if change_or_none is None:
        return _rendered("leave the block as it is: no rule fits it", "", block)
    return _rendered(change_or_none.description, change_or_none.imports, change_or_none.source)


def _answer_for_program(prompt: str, rng: random.Random, *, combines: bool) -> str:
    """Return the answer to a prompt that shows the whole program instead of one block.

    `combines`: whether to put the changes that the prompt shows together. A second answer must be another one than the first.
    """
    from agent.genome import Genome, bare_name
    from agent.genome.rewrites import Change, apply_diffs, apply_insight, revise

    files = _program_files(prompt)
    if not files:
        return "Intention: none, for the prompt shows no block.\nExpected effect: none."
    frozen_lines = re.findall(r"^Frozen: (.+?)\.(?: |$)", prompt, re.MULTILINE)
    names = set(re.findall(r"`(\w+)`", frozen_lines[-1])) if frozen_lines else set()
    whole = Genome(files)
    named = (*whole.all_blocks, *whole.constants, *whole.constant_groups)
    genome = Genome(files, frozenset(b.name for b in named if bare_name(b.name) in names))
    diff = re.search(rf"^## The elite's change[ ]*\n{_DIFF}", prompt, re.MULTILINE)
    changes = re.finditer(rf"^### Change \d+: `(?P<id>[^`\n]+)`\n{_DIFF}", prompt, re.MULTILINE)
    change: Change | None
    if combines and (combined := apply_diffs(genome, {found["id"]: found["code"] for found in changes})):
        change = combined
    elif diff:
        lines = diff["code"].splitlines()
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in f" {sign}") for sign in "-+")
        change = apply_insight(before, after, genome, rng)
    else:
        change = revise(genome, _directive(prompt), rng)
    if change is None:
        return "Intention: leave the program as it is, for no rule fits it.\nExpected effect: none."
    return _rendered(change.description, change.imports, change.source)


def _program_files(prompt: str) -> dict[str, str]:
    """Return the files below the heading `Program` by path; a file without a path is `model.py`."""
    found = re.search(r"^## Program[ ]*\n(?:(?!## |`).*\n)*", prompt, re.MULTILINE)
    files: dict[str, str] = {}
    position = found.end() if found else len(prompt)
    while file := _FILE.match(prompt, position):
        files[file["path"] or "model.py"] = file["code"] + "\n"
        position = file.end()
    return files


def _directive(prompt: str) -> str:
    found = re.search(r"^## Directive: (.+)$", prompt, re.MULTILINE)
    return found[1].strip() if found else "parameters"


def _section(prompt: str, heading: str) -> str | None:
    """Return the first Python fence below a heading that matches the pattern, before the next heading."""
    found = re.search(rf"^## {heading}[ ]*\n{_FENCE}", prompt, re.MULTILINE)
    return found["code"] + "\n" if found else None


def _rendered(intention: str, imports: str, source: str) -> str:
    code = f"{imports}\n\n\n{source.strip()}" if imports else source.strip()
    return f"Intention: {intention}.\nExpected effect: unknown.\n\n{fence(code, 'python')}\n"
