"""Static analysis of Python source by its top-level statements: what each means, binds, mentions and reads on import.

Analyses are cached by text: a candidate differs from its parents in a block or two, so most statements are known already.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from sandbox.isolation import parsing

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""The kinds of statements that are blocks when they stand at the top level."""

ENTRY_POINTS = ("build_model", "build_optimizer", "augment", "loss")
"""The functions that the built-in image classification task calls by name. A program starts in one of them, or on import."""


@lru_cache(maxsize=16)
def parse(source: str) -> ast.Module:
    """Parse source text. The tree is shared between callers: do not change it. Raises what `parse_uncached` raises."""
    return parse_uncached(source)


def parse_uncached(source: str) -> ast.Module:
    """Parse source text into a new tree. Raises SyntaxError, ValueError, RecursionError or MemoryError.

    One thread at a time does it: see `sandbox.isolation.parsing`.
    """
    return parsing.parse(source)


@dataclass(frozen=True)
class StatementFacts:
    """What static analysis knows about one top-level statement."""

    meaning: str
    """A hash: equal for statements that differ only in comments, docstrings and spacing, under one version of Python."""
    bound_names: frozenset[str]
    """See the function `bound_names`."""
    mentioned_names: frozenset[str]
    """See the function `mentioned_names`."""
    passive: bool
    """An import, or a definition without decorators: it uses nothing on import. (A decorator may register its class.)"""
    definition: bool
    """A class or function."""
    plain_assignment: bool
    """See `is_plain_assignment`."""


@lru_cache(maxsize=1024)
def analyse_statements(text: str) -> tuple[StatementFacts, ...]:
    """Analyse each top-level statement of a file, in order. Raises what `parse` raises."""
    # CPython ends a line at \r\n, \r and \n, and at no other character.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    nodes = parse("\n".join(lines)).body
    spans = [line_span(node) for node in nodes]
    facts = []
    for index, (node, (first, last)) in enumerate(zip(nodes, spans, strict=True)):
        shares_above = index > 0 and spans[index - 1][1] >= first
        shares_below = index + 1 < len(spans) and spans[index + 1][0] <= last
        if shares_above or shares_below:  # two statements on one line cannot be cut apart by lines
            facts.append(_analyse(copy.deepcopy(node)))
        else:
            facts.append(_analyse_source("\n".join(lines[first - 1 : last])))
    return tuple(facts)


@lru_cache(maxsize=8192)
def _analyse_source(statement: str) -> StatementFacts:
    return _analyse(parse_uncached(statement).body[0])


def _analyse(node: ast.stmt) -> StatementFacts:
    """Analyse one statement. Changes the node: its docstrings are removed."""
    bound, mentioned = frozenset(bound_names(node)), frozenset(mentioned_names(node))
    assignment = is_plain_assignment(node)
    passive = isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, DEFINITIONS) and not node.decorator_list)
    dump = ast.dump(_remove_docstrings(ast.Module([node], [])))
    meaning = hashlib.sha256(dump.encode("utf-8", "replace")).hexdigest()
    return StatementFacts(meaning, bound, mentioned, passive, isinstance(node, DEFINITIONS), assignment)


def meanings(text: str) -> tuple[str, ...]:
    """The `StatementFacts.meaning` of each top-level statement."""
    return tuple(facts.meaning for facts in analyse_statements(text))


def _remove_docstrings(tree: ast.Module) -> ast.Module:
    """Remove docstrings from the tree in place and return it; a body that was only a docstring becomes `pass`."""
    for node in ast.walk(tree):
        if isinstance(node, (*DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def without_docstrings(node: ast.stmt) -> ast.stmt:
    """A copy of a statement without docstrings."""
    return _remove_docstrings(ast.Module([copy.deepcopy(node)], [])).body[0]


def line_span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a top-level statement, counted from 1, decorators included."""
    decorators = node.decorator_list if isinstance(node, DEFINITIONS) else []
    return min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno


def source_lines(text: str) -> list[str]:
    """Split text into lines with their ends, as Python counts them: form feeds and the like do not end a line."""
    pieces = text.split("\n")
    return [piece + "\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def comment_start(lines: list[str], first: int) -> int:
    """The line (from 1) where the comment lines directly above line `first` start; `first` itself if there are none."""
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return first


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement makes available."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    names: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, DEFINITIONS):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif not isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            queue += ast.iter_child_nodes(node)  # the variables of a comprehension are its own
    return names


def is_plain_assignment(statement: ast.stmt) -> bool:
    """Whether it only gives names to values. `Gate.width = 3` and `TABLE["x"] = 3` do not: they change other objects."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    return not any(isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store) for n in ast.walk(statement))


def is_replaceable(statement: ast.stmt) -> bool:
    """Whether an answer may replace the statement by one that binds the same names: a definition or a plain assignment."""
    return isinstance(statement, DEFINITIONS) or is_plain_assignment(statement)


def mentioned_names(statement: ast.stmt) -> set[str]:
    """All names by which a statement may refer to something: names, attributes, imports and strings; its own included."""
    names = {statement.name} if isinstance(statement, DEFINITIONS) else set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def import_time_names(statement: ast.stmt, *, annotations: bool = True) -> set[str]:
    """The names that a top-level statement reads on import: bases, decorators and defaults, but not function bodies.

    `annotations`: whether annotations are evaluated, as they are without `from __future__ import annotations`.
    """
    names: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            queue += [*node.decorator_list, *_defaults(node.args)]
            queue += [*_annotations(node.args), *filter(None, [node.returns])] if annotations else []
        elif isinstance(node, ast.Lambda):
            queue += _defaults(node.args)
        elif isinstance(node, ast.AnnAssign):
            queue += [node.target, *filter(None, [node.value]), *([node.annotation] if annotations else [])]
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.add(node.id)
            queue += ast.iter_child_nodes(node)
    return names


def _defaults(args: ast.arguments) -> list[ast.AST]:
    return [*args.defaults, *(default for default in args.kw_defaults if default is not None)]


def _annotations(args: ast.arguments) -> list[ast.AST]:
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    return [arg.annotation for arg in parameters if arg.annotation is not None]


def reachable_names(
    texts: Iterable[str],
    entry_points: Iterable[str] = ENTRY_POINTS,
    *,
    passive_assignments: bool = False,
    decorated_is_passive: bool = False,
) -> set[str]:
    """The names that are reachable from the entry points or from code that runs on import; empty without an entry point.

    Errs on the side of reachable: a name is the same name in every file and scope, and strings and attributes count too.
    `passive_assignments`: plain assignments do not count as code that runs; they count where one of their names is reached.
    `decorated_is_passive`: nor do definitions with decorators, which may only be entered into a table.
    """
    binders: dict[str, list[StatementFacts]] = {}
    queue: list[StatementFacts] = []
    for statement in (statement for text in texts for statement in analyse_statements(text)):
        for name in statement.bound_names:
            binders.setdefault(name, []).append(statement)
        passive = statement.passive or (decorated_is_passive and statement.definition)
        if not (passive or (passive_assignments and statement.plain_assignment)):
            queue.append(statement)
    starts = [name for name in entry_points if name in binders]
    reachable = set(starts)
    queue += [statement for name in starts for statement in binders[name]]
    while queue:
        for name in queue.pop().mentioned_names - reachable:
            reachable.add(name)
            queue += binders.get(name, ())
    return reachable if starts else set()


DOCSTRING_MEANING = meanings("pass")[0]
"""The meaning of a module's docstring: the same as that of `pass`."""
