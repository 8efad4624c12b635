"""Module-level constants: settings of a program that may evolve, though they are neither class nor function."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from agent.genome.analysis import bound_names, comment_start, is_plain_assignment, line_span, parse, source_lines

CONSTANTS = "constants"
"""The name under which the constants of a file are rewritten together."""
_PURE = frozenset({"dict", "list", "tuple", "set", "frozenset", "float", "int", "str", "bool", "range", "min", "max", "round"})
"""Functions that a constant's value may call."""


def constant_sources(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, source) of each constant of a file, with the comment lines directly above it.

    A constant is bound once, to a value that is written out: numbers, texts, and what is made of them.
    """
    body, lines = parse(text).body, source_lines(text)
    bound = Counter(name for node in body for name in bound_names(node))
    changed = {name for node in ast.walk(parse(text)) if isinstance(node, ast.Global) for name in node.names}
    for node in body:
        names = sorted(bound_names(node))
        if not _is_written_out(node) or any(bound[name] > 1 or name in changed or name.startswith("__") for name in names):
            continue
        first, last = line_span(node)
        if sum(line_span(other)[0] <= last and line_span(other)[1] >= first for other in body) == 1:  # nothing else on its lines
            yield names[0], "".join(lines[comment_start(lines, first) - 1 : last])


def _is_written_out(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) and is_plain_assignment(node) else None
    if value is None:
        return False
    parts = list(ast.walk(value))
    calls = [part for part in parts if isinstance(part, ast.Call)]
    pure = all(isinstance(call.func, ast.Name) and call.func.id in _PURE for call in calls)
    return pure and any(isinstance(p, ast.Constant) for p in parts) and not any(isinstance(p, ast.Lambda) for p in parts)


def fixed_statements(text: str) -> list[ast.stmt]:
    """The statements of a file that run on import or as the main program and are no block: guards, loops, calls.

    No answer may change them. Docstrings and imports do not count.
    """
    kinds = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Expr)
    return [
        node
        for node in parse(text).body
        if isinstance(node, kinds) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def title(node: ast.stmt) -> str:
    """The first line of a statement, cut to 80 characters."""
    return ast.unparse(node).splitlines()[0][:80]


def fixed_titles(text: str) -> list[str]:
    """The first lines of the fixed statements of a file that models like to change: guards and loops, and calls of `main`."""
    return [title(node) for node in fixed_statements(text) if isinstance(node, ast.If | ast.For | ast.While) or is_start(node)]


def is_start(node: ast.stmt) -> bool:
    """Whether a statement calls a function and drops what it returns, as `main()` does; a print does not count."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id != "print"
