"""What a top-level statement of an answer is: a definition, an assignment, an import, a demonstration, or something else.

Works on libcst's nodes, which keep comments and spacing.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Sequence

import libcst as cst

from agent.genome.analysis import DEFINITIONS, bound_names, is_plain_assignment, meanings, parse

Definition = cst.ClassDef | cst.FunctionDef


def text_of(statement: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(statement).strip()


def first_line(statement: cst.BaseStatement) -> str:
    """The first line of code, at most 120 characters of it, for messages."""
    return next(line for line in text_of(statement).splitlines() if line.strip() and not line.startswith("#"))[:120]


def meaning_of(statement: cst.CSTNode) -> tuple[str, ...]:
    """Equal for statements that differ only in comments, docstrings and spacing."""
    return meanings(text_of(statement))


def names_of(statement: cst.CSTNode) -> set[str]:
    """The names that a statement makes available."""
    return {name for node in parse(text_of(statement)).body for name in bound_names(node)}


def omitted_bodies(statement: cst.CSTNode) -> list[str]:
    """Names of the functions and classes in it, itself included, whose body ends in `...` where code should be."""
    return [
        node.name
        for node in ast.walk(parse(text_of(statement)))
        if isinstance(node, DEFINITIONS)
        and isinstance(last := node.body[-1], ast.Expr)
        and isinstance(last.value, ast.Constant)
        and last.value.value is ...
    ]


def _parts(statement: cst.CSTNode) -> Sequence[cst.BaseSmallStatement]:
    """The simple statements on a line, as in `a = 1; b = 2`; empty for a compound statement."""
    return statement.body if isinstance(statement, cst.SimpleStatementLine) else ()


def is_import(statement: cst.CSTNode) -> bool:
    parts = _parts(statement)
    return bool(parts) and all(isinstance(part, cst.Import | cst.ImportFrom) for part in parts)


def is_assignment(statement: cst.CSTNode) -> bool:
    """Whether it only gives names to values: constants, aliases, and results of calls."""
    return bool(_parts(statement)) and all(is_plain_assignment(node) for node in parse(text_of(statement)).body)


def is_demonstration(statement: cst.CSTNode) -> bool:
    """Whether it is something models append out of habit: a docstring, a print, a main guard, a bare name, `pass`."""
    if isinstance(statement, cst.If):
        return "__name__" in cst.Module([]).code_for_node(statement.test)
    parts = _parts(statement)
    return bool(parts) and all(
        isinstance(part, cst.Pass)
        or (
            isinstance(part, cst.Expr)
            and (
                isinstance(part.value, cst.SimpleString | cst.ConcatenatedString | cst.Name | cst.Ellipsis)
                or (isinstance(part.value, cst.Call) and text_of(part.value.func) in ("print", "main", "test", "demo"))
            )
        )
        for part in parts
    )


def read_names(node: cst.CSTNode) -> set[str]:
    """The names that it reads from the top level of the file; local variables of the same name do not count."""
    table = symtable.symtable(text_of(node), "answer", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    scopes = list(table.get_children())
    while scopes:
        scope = scopes.pop()
        names |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        scopes += scope.get_children()
    return names
