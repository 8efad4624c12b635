"""What a prompt shows instead of a program's whole text: signatures, and the lines where a block is used."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Container
from functools import lru_cache

from agent.genome.analysis import DEFINITIONS, bound_names, parse, source_lines
from agent.genome.constants import constant_sources, title
from agent.genome.flow import top_level
from agent.genome.genome import Block, Genome, bare_name, block_name

MAX_ATTRIBUTE = 120
"""Characters of a class attribute that are shown."""


def signatures(genome: Genome, without: Container[str] = ()) -> str:
    """Imports, constants and the signatures of all blocks except those named in `without`."""
    parts = []
    several = len(genome.files) > 1
    for path, text in genome.files.items():
        lines = [f"# {path}"]
        for node in parse(text).body:
            if isinstance(node, DEFINITIONS):
                if block_name(path, node.name, several) not in without:
                    lines += _signature_lines(node, "")
            elif not is_text(node):
                lines.append(ast.unparse(node))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


@lru_cache(maxsize=1024)
def block_signature(block: Block) -> str:
    """The block's signature, and those of a class's methods."""
    return "\n".join(line for node in parse(block.source).body for line in _signature_lines(node, ""))


def what_stays(genome: Genome) -> dict[str, str]:
    """What can never evolve though it is not frozen, each with the reason: a name of a definition, or the head of a statement."""
    found: dict[str, str] = {}
    counts = Counter(block.name for block in genome.all_blocks)
    live, called = genome.live_names, genome.called_names
    for block in genome.all_blocks:
        if counts[block.name] > 1:
            found[block.name] = f"defined {counts[block.name]} times"
        elif live and block.name not in live and block.name not in genome.frozen:
            found[block.name] = "nothing uses it"
        elif called and bare_name(block.name) not in called and block.name not in genome.frozen:
            found[block.name] = "only a registry holds it, unless a run of the seed uses it"
    for text in genome.files.values():
        constants = {name for name, _ in constant_sources(text)}
        for node in top_level(parse(text)):
            names = bound_names(node)
            trivial = isinstance(node, ast.Import | ast.ImportFrom) or is_text(node)
            if not trivial and not names & constants:
                found.setdefault(title(node), "runs at the top level")
    return found


def is_text(node: ast.stmt) -> bool:
    """Whether a statement is a text alone, as a docstring is."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def call_sites(genome: Genome, name: str, without: Container[str] = (), limit: int = 12) -> str:
    """The lines of other blocks, except those named in `without`, that use the block, each under its block's name.

    `limit`: the most lines returned.
    """
    wanted = genome.block(name)
    bare = bare_name(name)
    parts: list[str] = []
    for block in genome.all_blocks:
        if block == wanted or block.name in without:
            continue
        lines = source_lines(block.source)
        uses = {n.lineno for n in ast.walk(parse(block.source)) if isinstance(n, ast.Name) and n.id == bare}
        if uses:
            parts += [f"# in {block.name}", *(lines[line - 1].strip() for line in sorted(uses))]
    return "\n".join(parts[:limit])


def _signature_lines(node: ast.stmt, indent: str) -> list[str]:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        inner = [line for item in node.body for line in _member_lines(item, indent + "    ")]
        head = f"{indent}class {node.name}({bases}):" if bases else f"{indent}class {node.name}:"
        return [*_decorator_lines(node, indent), head, *(inner or [f"{indent}    ..."])]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        head = f"{indent}{keyword} {node.name}({ast.unparse(node.args)}){returns}: ..."
        return [*_decorator_lines(node, indent), head]
    return []


def _member_lines(node: ast.stmt, indent: str) -> list[str]:
    """What other code may read of a member of a class: its signature, or the field or attribute with its value."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        text = ast.unparse(node)
        return [indent + (text if len(text) <= MAX_ATTRIBUTE else f"{text[:MAX_ATTRIBUTE]} ...")]
    return _signature_lines(node, indent)


def _decorator_lines(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, indent: str) -> list[str]:
    return [f"{indent}@{ast.unparse(decorator)}" for decorator in node.decorator_list]
