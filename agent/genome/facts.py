"""What one top-level statement is, looked at once however many programs of a run share it.

A child differs from its parents in a block or two: what is known of all others is found by their text.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from agent.genome.syntax import parse, parse_anew

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

ENTRY_POINTS = ("build_model", "build_optimizer", "augment", "loss")
"""What a task calls by name; all that a program does begins in one of these, or in code that runs on import."""


@dataclass(frozen=True)
class Facts:
    """Of one statement."""

    meaning: str
    """Equal for those that differ only in comments, docstrings and spacing, under one version of Python."""
    bound: frozenset[str]
    """See `bound_names`."""
    mentioned: frozenset[str]
    """See `mentioned`."""
    passive: bool
    """Uses nothing while it is imported: importing a name is not using it; a decorator may enter its class into a table."""
    value: bool
    """See `is_value`."""


@lru_cache(maxsize=1024)
def facts(text: str) -> tuple[Facts, ...]:
    """Of each top-level statement. Raises what `parse` does."""
    # CPython ends a line at each of the three; no other character does.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    nodes = parse("\n".join(lines)).body
    spans = [span(node) for node in nodes]
    found = []
    for place, (node, (first, last)) in enumerate(zip(nodes, spans, strict=True)):
        beside = (place > 0 and spans[place - 1][1] >= first) or (place + 1 < len(spans) and spans[place + 1][0] <= last)
        found.append(_of(copy.deepcopy(node)) if beside else _known("\n".join(lines[first - 1 : last])))
    return tuple(found)


@lru_cache(maxsize=8192)
def _known(statement: str) -> Facts:
    return _of(parse_anew(statement).body[0])


def _of(node: ast.stmt) -> Facts:
    """Changes the node."""
    bound, names, value = frozenset(bound_names(node)), frozenset(mentioned(node)), is_value(node)
    passive = isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, DEFINITIONS) and not node.decorator_list)
    dumped = ast.dump(_without_docstrings(ast.Module([node], [])))
    return Facts(hashlib.sha256(dumped.encode("utf-8", "replace")).hexdigest(), bound, names, passive, value)


def meanings(text: str) -> tuple[str, ...]:
    """Of each top-level statement: equal for those that differ only in comments, docstrings and spacing."""
    return tuple(one.meaning for one in facts(text))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree, changed in place: a body that was only a docstring becomes `pass`."""
    for node in ast.walk(tree):
        if isinstance(node, (*DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def bound_names(statement: ast.stmt) -> set[str]:
    """What a top-level statement makes available under which names."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    found: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif not isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            queue += ast.iter_child_nodes(node)  # the variables of a comprehension are its own
    return found


def span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a top-level statement, from 1, decorators included."""
    decorators = node.decorator_list if isinstance(node, DEFINITIONS) else []
    return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno


def is_value(statement: ast.stmt) -> bool:
    """Gives names to values and does nothing else: not `Gate.width = 3` nor `TABLE["x"] = 3`, which change others."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    return not any(isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store) for n in ast.walk(statement))


def mentioned(statement: ast.stmt) -> set[str]:
    """Names that a statement may mean something by, its own included."""
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


def reached(
    texts: Iterable[str], entry_points: Iterable[str] = ENTRY_POINTS, *, passive_values: bool = False
) -> set[str]:
    """Names that the entry points or code that runs on import lead to; empty if there is no entry point.

    Errs on the side of life: a name is the same in every file and scope, and a string or an attribute may mean it too.
    `passive_values`: giving names to values is not code that runs, such a statement counts if one of its names is reached.
    """
    binders: dict[str, list[Facts]] = {}
    queue: list[Facts] = []
    for statement in (statement for text in texts for statement in facts(text)):
        for name in statement.bound:
            binders.setdefault(name, []).append(statement)
        if not (statement.passive or (passive_values and statement.value)):
            queue.append(statement)
    begun = [name for name in entry_points if name in binders]
    found = set(begun)
    queue += [statement for name in begun for statement in binders[name]]
    while queue:
        for name in queue.pop().mentioned - found:
            found.add(name)
            queue += binders.get(name, ())
    return found if begun else set()


NOTHING = meanings("pass")[0]
"""What a docstring means."""
