"""How two genomes differ, block by block, and which definitions a block needs when it is moved to another program."""

from __future__ import annotations

import ast

from agent.genome import Block, Genome, analyse_statements, bare_name, bound_names, line_span, parse, same_meaning, source_lines


def differing_blocks(a: Genome, b: Genome) -> tuple[str, ...]:
    """Names of the blocks that may evolve in both genomes and do something else in each (comments and docstrings aside)."""
    others = {block.name: block for block in b.blocks}
    return tuple(
        block.name
        for block in a.blocks
        if block.name in others and block.kind == others[block.name].kind and not same_meaning(block, others[block.name])
    )


def missing_definitions(block: Block, giver: Genome, taker: Genome) -> str:
    """The source of the top-level statements of `giver` that `block` needs, directly or through each other, and `taker` lacks.

    Without them an LLM would see calls of helpers that an earlier answer brought along, but not what they do.
    """
    return "\n\n".join(missing_statements(block, giver, taker))


def missing_statements(block: Block, giver: Genome, taker: Genome) -> list[str]:
    """The same, statement by statement in the order of the file."""
    text = giver.files[block.file]
    missing = _missing_names(giver, taker, block.file)
    if not missing:
        return []
    available = _statements_by_name(text)
    needed: dict[int, ast.stmt] = {}
    queue: list[ast.AST] = [parse(block.source)]
    while queue:
        for name in _used_names(queue.pop()) & missing:
            statement = available[name]
            if statement.lineno not in needed:
                needed[statement.lineno] = statement
                queue.append(statement)
    return [_source(needed[line], text) for line in sorted(needed)]


def _source(statement: ast.stmt, text: str) -> str:
    """The lines of a top-level statement, decorators included."""
    first, last = line_span(statement)
    return "".join(source_lines(text)[first - 1 : last]).rstrip("\r\n")


def _missing_names(giver: Genome, taker: Genome, file: str) -> set[str]:
    """Names that the file binds in `giver` but not in `taker`. Files that differ in nothing but their blocks are not parsed."""
    giver_text, taker_text = giver.files[file], taker.files.get(file, "")
    giver_blocks, taker_blocks = ([block for block in genome.all_blocks if block.file == file] for genome in (giver, taker))
    if _lines_outside(giver_text, giver_blocks) == _lines_outside(taker_text, taker_blocks):
        return {bare_name(block.name) for block in giver_blocks} - {bare_name(block.name) for block in taker_blocks}
    return _bound_names(giver_text) - _bound_names(taker_text)


def _lines_outside(text: str, blocks: list[Block]) -> list[str]:
    """The lines of a file that belong to none of the blocks, without empty ones."""
    for block in blocks:
        text = text.replace(block.source, "", 1)
    return [line for line in text.splitlines() if line.strip()]


def _bound_names(text: str) -> set[str]:
    return {name for statement in analyse_statements(text) for name in statement.bound_names}


def _statements_by_name(text: str) -> dict[str, ast.stmt]:
    """Names bound at the top level of a file, each with the statement that binds it."""
    return {name: statement for statement in parse(text).body for name in bound_names(statement)}


def _used_names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
