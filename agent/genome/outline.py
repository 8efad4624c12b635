"""What a prompt shows of a program instead of its text: signatures, and the places where a block is used."""

from __future__ import annotations

import ast
from collections.abc import Container
from functools import lru_cache

from agent.genome.facts import DEFINITIONS
from agent.genome.genome import Block, Genome
from agent.genome.syntax import parse


def signatures(genome: Genome, without: Container[str] = ()) -> str:
    """Imports, constants and the heads of all blocks except those in `without`; bodies are left out."""
    parts = []
    several = len(genome.files) > 1
    for path, text in genome.files.items():
        lines = [f"# {path}"] if several else []
        for node in parse(text).body:
            if isinstance(node, DEFINITIONS):
                name = f"{path}:{node.name}" if several else node.name
                if name not in without:
                    lines += _heads(node, "")
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                lines.append(ast.unparse(node))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


@lru_cache(maxsize=1024)
def heads(block: Block) -> str:
    """The block's signature, and those of a class's methods."""
    return "\n".join(line for node in parse(block.source).body for line in _heads(node, ""))


def callers(genome: Genome, name: str, without: Container[str] = (), limit: int = 12) -> str:
    """The lines of other blocks, except those in `without`, that use the block, each under the name of its block."""
    wanted = genome.block(name)
    bare = name.rpartition(":")[2]
    parts: list[str] = []
    for block in genome.all_blocks:
        if block == wanted or block.name in without:
            continue
        lines = block.source.splitlines()
        numbers = sorted(
            {n.lineno for n in ast.walk(parse(block.source)) if isinstance(n, ast.Name) and n.id == bare}
        )
        if numbers:
            parts += [f"# in {block.name}", *(lines[n - 1].strip() for n in numbers)]
    return "\n".join(parts[:limit])


def _heads(node: ast.stmt, indent: str) -> list[str]:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(b) for b in node.bases)
        inner = [line for item in node.body for line in _heads(item, indent + "    ")]
        return [f"{indent}class {node.name}({bases}):", *(inner or [f"{indent}    ..."])]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        return [f"{indent}{word} {node.name}({ast.unparse(node.args)}){returns}: ..."]
    return []
