"""Cuts out of a `task.py` what its `fit` and `predict` need: only that enters a sandbox, so that no candidate can call `data`.

A statement at the top of the file is needed if it binds a name that a needed statement reads. What reads what is seen in the
compiled code, so that a local variable called `data` is not taken for the function.
"""

from __future__ import annotations

import ast
import dis
import io
from collections.abc import Collection, Iterator
from types import CodeType

from sandbox.isolation.parsing import parse

INSIDE = ("fit", "predict")
"""The functions that run in the sandbox."""
OUTSIDE = ("data", "score", "facts", "example", "normalised")
"""Those that run with the user's rights, and what only they need stays outside."""


def part_inside(text: str) -> str:
    """Return the file without the statements that neither `fit` nor `predict` needs; every line keeps its number."""
    tree = parse(text)
    binding: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            binding.setdefault(name, []).append(statement)
    kept: set[ast.stmt] = {statement for statement in tree.body if _always(statement)}
    waiting = list(INSIDE)
    known: set[str] = set()
    while True:
        while waiting:
            name = waiting.pop()
            if name not in known:
                known.add(name)
                found = [statement for statement in binding.get(name, ()) if statement not in kept]
                kept.update(found)
                waiting += [used for statement in found for used in _used(statement)]
        effects = [statement for statement in tree.body if statement not in kept and _acts_on_kept(statement, known, binding)]
        if not effects:
            return _lines_of(text, [statement for statement in tree.body if statement in kept])
        kept.update(effects)


def reaches(text: str, name: str) -> bool:
    """Does the part inside hold a statement that binds this name?"""
    return any(name in _bound(statement) for statement in parse(part_inside(text)).body)


def _acts_on_kept(statement: ast.stmt, known: Collection[str], binding: dict[str, list[ast.stmt]]) -> bool:
    """Is it a statement for its effect alone, such as `torch.set_default_dtype(...)`, on nothing but what is needed anyway?"""
    if _bound(statement) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        return False
    used = {name for name in _used(statement) if name in binding}
    return bool(used) and used <= set(known)


def _always(statement: ast.stmt) -> bool:
    """Is it an import of nobody knows which names, or of a feature of the language?"""
    star = isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*"
    return star or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top binds, changes or deletes, also within its blocks."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    return set(_bound_in(statement))


def _bound_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    if isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        inner: ast.expr = node  # `TABLE[3] = 4` and `module.flag = True` change what the first name stands for
        while isinstance(inner, ast.Attribute | ast.Subscript):
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield inner.id
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _bound_in(child)


def _used(statement: ast.stmt) -> Iterator[str]:
    """Every name of the module that a statement reads, and every text in it that could be one, as in `globals()["name"]`."""
    yield from _read_by(compile(ast.Module([statement], []), "task", "exec", dont_inherit=True))
    for node in ast.walk(statement):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in OUTSIDE:
            yield node.value  # `inputs["data"]` is no call of data()


def _read_by(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _read_by(constant)


def _lines_of(text: str, statements: list[ast.stmt]) -> str:
    lines = io.StringIO(text).readlines()  # as Python counts lines
    kept = [""] * len(lines)
    for statement in statements:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        for number in range(first - 1, statement.end_lineno or first):
            kept[number] = lines[number]
    # Two statements of one line are kept or left out together: the line stays if either is needed.
    return "".join(line if line else "\n" for line in kept).rstrip() + "\n"
