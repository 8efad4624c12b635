"""What one needs to know of the program around a block: all of it if it is short, else heads and call sites."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.text import fence
from agent.genome import ENTRY_POINTS, Genome, block_signature, call_sites, signatures
from agent.operators.compare import plain
from agent.operators.templates import Prompts

SMALL = 12_000
"""Characters of a program up to which the prompt shows all of it."""


def surroundings(prompts: Prompts, base: Genome, target: str, shown: Mapping[str, str]) -> str:
    """`shown`: blocks whose source stands further down in the prompt, each with the words that say where."""
    small = sum(map(len, base.files.values())) <= SMALL
    driving = [b for b in base.all_blocks if plain(b.name) in ENTRY_POINTS and b.name not in shown]
    elsewhere = {*shown, *(b.name for b in driving)}
    return prompts.parts["surroundings"].fill(
        block=plain(target),
        program=_program(base, {name: _pointer(base, name, where) for name, where in shown.items()}) if small else "",
        entries="" if small else _fenced("\n\n\n".join(b.source.strip("\n") for b in driving)),
        signatures="" if small else _fenced(signatures(base, without=elsewhere)),
        callers="" if small else _fenced(call_sites(base, target, without=elsewhere)),
    )


def program(base: Genome) -> tuple[str, str]:
    """All files, fenced; and which blocks only their heads are shown of, since the program is long and nothing uses them."""
    if sum(map(len, base.files.values())) <= SMALL:
        return _program(base, {}), ""
    unused = [block for block in base.blocks if block not in base.live_blocks]
    outlines = {block.name: "\n".join(f"# {line}" for line in block_signature(block).splitlines()) for block in unused}
    return _program(base, outlines), ", ".join(f"`{plain(name)}`" for name in outlines)


def _pointer(base: Genome, name: str, where: str) -> str:
    return f"# {base.block(name).kind} {plain(name)}: {where}"


def _fenced(text: str) -> str:
    """An empty text stays empty, so that the prompt leaves it out."""
    return fence(text, "python") if text.strip() else ""


def _program(base: Genome, instead: Mapping[str, str]) -> str:
    """Each file once, with comments in place of some blocks."""
    texts = dict(base.files)
    for name, comment in instead.items():
        block = base.block(name)
        texts[block.file] = texts[block.file].replace(block.source.rstrip("\n"), comment, 1)
    if len(texts) == 1:
        return fence(next(iter(texts.values())), "python")
    return "\n\n".join(f"`{path}`:\n\n{fence(text, 'python')}" for path, text in sorted(texts.items()))
