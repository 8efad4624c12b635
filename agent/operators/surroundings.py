"""What a block needs to know of the program around it: all of it if that is short, else signatures and call sites."""

from __future__ import annotations

from collections.abc import Mapping

from agent.genome import Genome, callers, signatures
from agent.operators.compare import plain
from agent.prompting import Prompts, fence

SMALL = 6000
"""Characters of a program up to which the prompt shows all of it."""


def surroundings(prompts: Prompts, base: Genome, target: str, shown: Mapping[str, str]) -> str:
    """`shown`: blocks whose source stands further down in the prompt, each with the words that say where."""
    small = sum(map(len, base.files.values())) <= SMALL
    return prompts.parts["surroundings"].fill(
        block=plain(target),
        program=_program(base, shown) if small else "",
        signatures="" if small else fence(signatures(base, without=shown), "python"),
        callers="" if small else fence(callers(base, target), "python"),
    )


def _program(base: Genome, shown: Mapping[str, str]) -> str:
    """Each file once, with a comment in place of each block that is shown elsewhere."""
    texts = dict(base.files)
    for name, where in shown.items():
        block = base.block(name)
        placeholder = f"# {block.kind} {plain(name)}: {where}\n"
        texts[block.file] = texts[block.file].replace(block.source.rstrip("\n"), placeholder.rstrip("\n"), 1)
    if len(texts) == 1:
        return fence(next(iter(texts.values())), "python")
    return "\n\n".join(f"`{path}`:\n\n{fence(text, 'python')}" for path, text in sorted(texts.items()))
