"""What runs when a file is imported: the names that it reads must be bound above it."""

from __future__ import annotations

import ast
import builtins
from functools import lru_cache

from agent.genome.facts import DEFINITIONS, bound_names
from agent.genome.syntax import parse


def eager_names(statement: ast.stmt, *, annotations: bool = True) -> set[str]:
    """Names that a top-level statement reads while it is imported: bases, decorators, defaults, not the bodies of functions.

    `annotations`: they are evaluated, as they are without `from __future__ import annotations`.
    """
    found: set[str] = set()
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
                found.add(node.id)
            queue += ast.iter_child_nodes(node)
    return found


@lru_cache(maxsize=64)
def too_early(text: str) -> frozenset[tuple[str, str]]:
    """(who, what): a statement that reads a name of the file before it is bound, by the first name that it binds itself."""
    body = parse(text).body
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body)
    first = {name: place for place, node in reversed([*enumerate(body)]) for name in bound_names(node)}
    return frozenset(
        (next(iter(sorted(bound_names(node))), "the code at the top level"), name)
        for place, node in enumerate(body)
        for name in eager_names(node, annotations=not lazy)
        if first.get(name, -1) > place and not hasattr(builtins, name) and name not in _bound_within(node)
    )


def _bound_within(node: ast.stmt) -> set[str]:
    """A name that a class or a comprehension binds for itself says nothing of the top level."""
    inner = [n for n in ast.walk(node) if n is not node]
    bound = {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bound | {n.name for n in inner if isinstance(n, DEFINITIONS)}


def _defaults(args: ast.arguments) -> list[ast.AST]:
    return [*args.defaults, *(default for default in args.kw_defaults if default is not None)]


def _annotations(args: ast.arguments) -> list[ast.AST]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    return [arg.annotation for arg in every if arg.annotation is not None]
