"""What a top-level statement of an answer is: a definition, a value, an import, a demonstration, or something with effects."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Sequence

import libcst as cst

from agent.genome.facts import DEFINITIONS, bound_names, is_value, meanings
from agent.genome.syntax import parse

Definition = cst.ClassDef | cst.FunctionDef


def text_of(statement: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(statement).strip()


def first_line(statement: cst.BaseStatement) -> str:
    return next(line for line in text_of(statement).splitlines() if line.strip() and not line.startswith("#"))[:120]


def meaning(statement: cst.CSTNode) -> tuple[str, ...]:
    """Equal for statements that differ only in comments, docstrings and spacing."""
    return meanings(text_of(statement))


def omissions(statement: cst.CSTNode) -> list[str]:
    """The functions and classes in it, itself included, whose body is `...` where code should be."""
    return [
        node.name
        for node in ast.walk(parse(text_of(statement)))
        if isinstance(node, DEFINITIONS)
        and isinstance(last := node.body[-1], ast.Expr)
        and isinstance(last.value, ast.Constant)
        and last.value.value is ...
    ]


def names_of(statement: cst.CSTNode) -> set[str]:
    """What a definition or a value makes available under which names."""
    return {name for node in parse(text_of(statement)).body for name in bound_names(node)}


def _small(statement: cst.CSTNode) -> Sequence[cst.BaseSmallStatement]:
    return statement.body if isinstance(statement, cst.SimpleStatementLine) else ()


def is_import(statement: cst.CSTNode) -> bool:
    small = _small(statement)
    return bool(small) and all(isinstance(s, cst.Import | cst.ImportFrom) for s in small)


def is_future(statement: cst.CSTNode) -> bool:
    return is_import(statement) and text_of(statement).startswith("from __future__")


def is_assignment(statement: cst.CSTNode) -> bool:
    """Constants and aliases; a call on the right side may have effects, but only those of making a value."""
    small = _small(statement)
    return bool(small) and all(is_value(node) for node in parse(text_of(statement)).body)


def is_demonstration(statement: cst.CSTNode) -> bool:
    """What models append out of habit, dropped silently: docstrings, prints, a main guard, a bare name, `pass`."""
    if isinstance(statement, cst.If):
        return "__name__" in cst.Module([]).code_for_node(statement.test)
    small = _small(statement)
    return bool(small) and all(
        isinstance(s, cst.Pass)
        or (
            isinstance(s, cst.Expr)
            and (
                isinstance(s.value, cst.SimpleString | cst.ConcatenatedString | cst.Name | cst.Ellipsis)
                or (isinstance(s.value, cst.Call) and text_of(s.value.func) in ("print", "main", "test", "demo"))
            )
        )
        for s in small
    )


def read_names(node: cst.CSTNode) -> set[str]:
    """Names that are read from the top level; a local variable of the same name is not."""
    table = symtable.symtable(text_of(node), "answer", "exec")
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    scopes = list(table.get_children())
    while scopes:
        scope = scopes.pop()
        found |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        scopes += scope.get_children()
    return found


def bindings(statement: cst.CSTNode) -> set[str]:
    """`import a.b`, `import a as x`, `from m import y`: what each makes available, with where it comes from."""
    return imported_as(parse(text_of(statement)))


def imported_as(tree: ast.AST) -> set[str]:
    """The same of all imports in a tree."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {f"{alias.asname or alias.name}={alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{alias.asname or alias.name}={node.module}.{alias.name}" for alias in node.names}
    return found
