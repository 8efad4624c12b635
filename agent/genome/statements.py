"""A source text as its top-level statements, each looked at once however many programs of a run share it.

A child differs from its parents in one block of many: what is known of the others is found by their text.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Statement:
    """Facts of one statement, or of several that share a line."""

    meaning: str
    """Equal for texts that differ only in comments, docstrings and spacing, under one version of Python."""
    bound: frozenset[str]
    """Names that it makes available at the top level."""
    mentioned: frozenset[str]
    """Names that it may mean, also as an attribute or in a string; its own if it is a definition."""
    passive: bool
    """Uses nothing when the file is imported: importing a name is not using it, and a decorator runs on import."""


@lru_cache(maxsize=256)
def statements(text: str) -> tuple[Statement, ...]:
    """Without the docstring. Raises SyntaxError if the text does not parse."""
    # CPython ends a line at each of the three; no other character does.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tree = ast.parse("\n".join(lines))
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    spans: list[tuple[int, int]] = []
    for first, last in map(span, body):
        if spans and first <= spans[-1][1]:  # `a = 1; b = 2`
            spans[-1] = spans[-1][0], last
        else:
            spans.append((first, last))
    return tuple(_known("\n".join(lines[first - 1 : last])) for first, last in spans)


def meaning(source: str) -> str:
    """Of a whole text or a part that parses by itself: see `Statement.meaning`."""
    return _known(source).meaning


@lru_cache(maxsize=8192)
def _known(source: str) -> Statement:
    tree = ast.parse(source)
    bound = frozenset(name for node in tree.body for name in bound_names(node))
    mentioned = frozenset(name for node in tree.body for name in _mentioned(node))
    passive = all(_passive(node) for node in tree.body)
    dumped = ast.dump(without_docstrings(tree))
    return Statement(hashlib.sha256(dumped.encode("utf-8", "replace")).hexdigest(), bound, mentioned, passive)


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree, changed in place: a body that was only a docstring becomes `pass`."""
    for node in ast.walk(tree):
        if isinstance(node, (*DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def bound_names(statement: ast.stmt) -> set[str]:
    """What a top-level statement makes available under which names."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, DEFINITIONS):
            found.add(node.name)
    return found


def span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a top-level statement, from 1, decorators included."""
    decorators = node.decorator_list if isinstance(node, DEFINITIONS) else []
    return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno


def reached(texts: Iterable[str], entries: Iterable[str]) -> set[str]:
    """Names that the entry points or code that runs on import lead to; empty if there is no entry point.

    Errs on the side of life: a name is the same in every file and scope, and a string or an attribute may mean it too.
    """
    binders: dict[str, list[Statement]] = {}
    queue: list[Statement] = []
    for statement in (statement for text in texts for statement in statements(text)):
        for name in statement.bound:
            binders.setdefault(name, []).append(statement)
        if not statement.passive:
            queue.append(statement)
    begun = [name for name in entries if name in binders]
    found = set(begun)
    queue += [statement for name in begun for statement in binders[name]]
    while queue:
        for name in queue.pop().mentioned - found:
            found.add(name)
            queue += binders.get(name, ())
    return found if begun else set()


def _passive(node: ast.stmt) -> bool:
    return (isinstance(node, DEFINITIONS) and not node.decorator_list) or isinstance(node, ast.Import | ast.ImportFrom)


def _mentioned(statement: ast.stmt) -> set[str]:
    found = {statement.name} if isinstance(statement, DEFINITIONS) else set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found
