"""How two genomes differ, block by block, and what a block takes along when it is shown outside its own program."""

from __future__ import annotations

import ast

from agent.genome import Block, Genome, analyse_statements, bound_names, line_span, parse, same_meaning


def differing(a: Genome, b: Genome) -> tuple[str, ...]:
    """Names of the blocks that may evolve in both and do something else in each (comments and docstrings aside)."""
    theirs = {block.name: block for block in b.blocks}
    return tuple(
        block.name
        for block in a.blocks
        if block.name in theirs
        and block.kind == theirs[block.name].kind
        and not same_meaning(block, theirs[block.name])
    )


def plain(name: str) -> str:
    """The name as the code has it: `pkg/b.py:Net` -> `Net`."""
    return name.rpartition(":")[2]


def borrowed(block: Block, giver: Genome, taker: Genome) -> str:
    """The top-level statements of `giver` that `block` relies on, directly or through each other, and `taker` lacks.

    Without them an LLM would see calls of helpers that an earlier answer brought along, and not what they do.
    """
    text = giver.files[block.file]
    missing = _missing(giver, taker, block.file)
    if not missing:
        return ""
    available = _top_level(text)
    wanted: dict[int, ast.stmt] = {}
    queue: list[ast.AST] = [parse(block.source)]
    while queue:
        for name in _names(queue.pop()) & missing:
            statement = available[name]
            if statement.lineno not in wanted:
                wanted[statement.lineno] = statement
                queue.append(statement)
    return "\n\n".join(source_of(wanted[line], text) for line in sorted(wanted))


def source_of(statement: ast.stmt, text: str) -> str:
    """The lines of a top-level statement, decorators included."""
    first, last = line_span(statement)
    return "\n".join(text.splitlines()[first - 1 : last])


def _missing(giver: Genome, taker: Genome, file: str) -> set[str]:
    """Names that the file binds in `giver` alone. Where the files differ in nothing but blocks, none has to be parsed."""
    text, base = giver.files[file], taker.files.get(file, "")
    theirs, own = ([block for block in genome.all_blocks if block.file == file] for genome in (giver, taker))
    if _beside(text, theirs) == _beside(base, own):
        return {plain(block.name) for block in theirs} - {plain(block.name) for block in own}
    return _bound(text) - _bound(base)


def _beside(text: str, blocks: list[Block]) -> list[str]:
    """The lines that belong to none of the blocks."""
    for block in blocks:
        text = text.replace(block.source, "", 1)
    return [line for line in text.splitlines() if line.strip()]


def _bound(text: str) -> set[str]:
    return {name for one in analyse_statements(text) for name in one.bound_names}


def _top_level(text: str) -> dict[str, ast.stmt]:
    """Names bound at the top of a file, each with the statement that binds it."""
    return {name: statement for statement in parse(text).body for name in bound_names(statement)}


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
