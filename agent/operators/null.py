"""The null edit: a change of the text that changes nothing else, for runs that measure what chance alone finds."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from agent.core.text import fence
from agent.genome import CONSTANTS, Genome, bare_name
from agent.genome.analysis import parse_uncached
from agent.operators.context import Context
from agent.operators.operator import DrawContext, evolvable_blocks
from agent.population.candidate import Recipe


@dataclass(frozen=True)
class NullEdit:
    """Adds a number that stands alone to a block: another program for everything that compares programs, the same one to Python.

    Drawn only in a null run: its share is 0.
    """

    name: str = "null"
    noun: str = "null edit"
    share: float = 0.0

    def draw(self, context: DrawContext) -> Recipe:
        """A recipe for a random block that is worth rewriting; its seed is the number."""
        rng, counts = context.rng, context.block_counts
        worth = evolvable_blocks(context.parent, context.seed, context.any_block)
        blocks = [name for name in worth if bare_name(name) != CONSTANTS]
        least = min(counts.get(name, 0) for name in blocks)
        block = rng.choice([name for name in blocks if counts.get(name, 0) == least])
        return Recipe(self.name, (context.parent.id,), (block,), model="", seed=rng.randrange(2**31))

    def intention(self, recipe: Recipe) -> str:
        (block,) = recipe.blocks
        return f"null edit of {bare_name(block)}: the number {recipe.seed} stands in it and does nothing"

    def answer(self, recipe: Recipe, base: Genome, context: Context) -> str:
        (name,) = recipe.blocks
        block = base.block(name)
        path = f"# {block.file}\n" if len(base.files) > 1 else ""
        return fence(path + with_number(block.source, recipe.seed), "python")


def with_number(source: str, number: int) -> str:
    """The source of one definition with a number as the first statement of its body, behind its docstring.

    Python compiles such a statement to an instruction that does nothing: not even the local names of the definition change.
    """
    tree = parse_uncached(source)
    (definition,) = tree.body
    assert isinstance(definition, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef), "a block is a definition"
    place = int(ast.get_docstring(definition, clean=False) is not None)
    following = definition.body[place] if place < len(definition.body) else None
    definition.body.insert(place, ast.Expr(ast.Constant(number)))
    edited = _with_line(source, following, number)
    if edited and ast.dump(parse_uncached(edited)) == ast.dump(tree):
        return edited
    return ast.unparse(ast.fix_missing_locations(tree))


def _with_line(source: str, following: ast.stmt | None, number: int) -> str:
    """The same by one more line above a statement, which keeps layout and comments; empty where no line can be put there."""
    if following is None:
        return ""
    decorators = getattr(following, "decorator_list", [])
    first = min([following.lineno, *(one.lineno for one in decorators)])
    lines = source.split("\n")
    indent = lines[first - 1][: len(lines[first - 1]) - len(lines[first - 1].lstrip())]
    lines.insert(first - 1, f"{indent}{number}  # changes nothing")
    edited = "\n".join(lines)
    try:
        parse_uncached(edited)
    except SyntaxError:
        return ""
    return edited
