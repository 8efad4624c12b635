"""The parts that prompts of several operators share: both messages, the program around a block, and the rules at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agent.core.text import fence, list_names
from agent.genome import ENTRY_POINTS, Genome, bare_name, block_signature, call_sites, diff, fixed_titles, signatures
from agent.llm import Message
from agent.operators.templates import Prompts
from agent.population.candidate import Recipe

WHOLE_PROGRAM_LIMIT = 12_000
"""Characters of a program up to which a prompt shows all of it."""
_KEEP_SIZES = "Tensors that go in and out keep their sizes wherever it is called, whatever the batch"
_KEEP_WORKING = "It goes on working when the rest of the program changes: take what it needs from `model` and `steps`"
"""What a block must keep besides its signature: one that computes, and the one that is called once to set up the training."""


def conversation(prompts: Prompts, role: str | None, text: str) -> tuple[Message, ...]:
    """A system message, and a user message with `text` and the model's role, if any, last: what changes comes late."""
    part = prompts.parts["role"].fill(role=prompts.roles[role]) if role else ""
    return Message("system", prompts.parts["system"].fill()), Message("user", f"{text}\n\n{part}".strip())


def rules_for_block(prompts: Prompts, recipe: Recipe, base: Genome) -> str:
    """The rules for rewriting the recipe's (first) block, or constants."""
    if base.block(recipe.blocks[0]).kind == "constants":
        return prompts.parts["rules_constants"].fill()
    setup = bare_name(recipe.blocks[0]) == "build_optimizer"
    held = [bare_name(name) for name in sorted(base.frozen_methods) if name.rpartition(".")[0] == recipe.blocks[0]]
    return prompts.parts["rules"].fill(keeps=_KEEP_WORKING if setup else _KEEP_SIZES, held=code_names(held))


def rules_for_program(prompts: Prompts, base: Genome) -> str:
    """The rules for an answer that may change any of the blocks."""
    return prompts.parts["rules_whole"].fill(
        frozen=code_names(bare_name(name) for name in sorted(base.frozen - base.frozen_methods)),
        held=code_names(bare_name(name) for name in sorted(base.frozen_methods)),
        file=[*base.files][-1] if len(base.files) > 1 else "",
        fixed=code_names(dict.fromkeys(head for text in base.files.values() for head in fixed_titles(text))),
    )


def length(prompts: Prompts, recipe: Recipe) -> str:
    """How long the answer may be; empty if the recipe has no limit."""
    return "" if recipe.max_tokens is None else prompts.parts["length"].fill(max_tokens=f"{recipe.max_tokens:,}")


def fits_prompt(genome: Genome) -> bool:
    """Whether the program is short enough for a prompt to show all of it."""
    return sum(map(len, genome.files.values())) <= WHOLE_PROGRAM_LIMIT


def surroundings(prompts: Prompts, base: Genome, target: str, shown: Mapping[str, str]) -> str:
    """The program around the block `target`: all of it if it is short, else signatures and call sites.

    `shown`: blocks whose source stands further down in the prompt, each with the words that say where.
    """
    short, path = fits_prompt(base), base.block(target).file
    entry_points = [b for b in base.all_blocks if bare_name(b.name) in ENTRY_POINTS and b.name not in shown]
    elsewhere = {*shown, *(b.name for b in entry_points)}
    pointers = {name: f"# {base.block(name).kind} {bare_name(name)}: {where}" for name, where in shown.items()}
    return prompts.parts["surroundings"].fill(
        block=bare_name(target),
        file=f"`{path}`",
        program=_fenced_files(base, pointers) if short else "",
        entries="" if short else fenced_code("\n\n\n".join(b.source.strip("\n") for b in entry_points)),
        signatures="" if short else fenced_code(signatures(base, without=elsewhere)),
        callers="" if short else fenced_code(call_sites(base, target, without=elsewhere)),
    )


def whole_program(base: Genome) -> tuple[str, str]:
    """All files, fenced, and the names of the blocks that are shown without their bodies.

    These are blocks that nothing uses, in a program that is too long to be shown whole.
    """
    if fits_prompt(base):
        return _fenced_files(base, {}), ""
    unused = [block for block in base.blocks if block not in base.live_blocks]
    outlines = {block.name: "\n".join(f"# {line}" for line in block_signature(block).splitlines()) for block in unused}
    return _fenced_files(base, outlines), code_names(map(bare_name, outlines))


def fenced_code(text: str) -> str:
    """Python source in a fence; an empty text stays empty, so that the prompt leaves its paragraph out."""
    return fence(text, "python") if text.strip() else ""


def code_names(names: Iterable[str]) -> str:
    """Names for a sentence: `A`, `B`."""
    return ", ".join(f"`{name}`" for name in names)


def short_code_names(names: Sequence[str]) -> str:
    """A few names for a sentence, and how many more there are: `A`, `B`, `C`, `D` and 3 more."""
    return list_names([f"`{name}`" for name in names])


def shortened_diff(old: Genome, new: Genome, limit: int) -> str:
    """As many whole lines of the unified diff as fit into `limit` characters.

    Without headers, and without file names if there is only one file.
    """
    headers = ("diff --git", "--- a/", "+++ b/") if len(new.files) == 1 else ("diff --git",)
    lines = [line for line in diff(old, new).splitlines() if not line.startswith(headers)]
    kept, room = 0, limit
    while kept < len(lines) and (room := room - len(lines[kept]) - 1) >= 0:
        kept += 1
    rest = len(lines) - kept
    return "\n".join([*lines[:kept], *([f"[... {rest:,} more lines ...]"] if rest else [])])


def _fenced_files(base: Genome, replacements: Mapping[str, str]) -> str:
    """Each file in a fence, with comments in place of some blocks."""
    texts = dict(base.files)
    for name, comment in replacements.items():
        block = base.block(name)
        texts[block.file] = texts[block.file].replace(block.source.rstrip("\n"), comment, 1)
    if len(texts) == 1:
        return fence(next(iter(texts.values())), "python")
    return "\n\n".join(f"`{path}`:\n\n{fence(text, 'python')}" for path, text in sorted(texts.items()))
