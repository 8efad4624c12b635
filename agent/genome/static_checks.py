"""Errors that can be found in a program without running it: undefined names, names read too early, calls that do not fit.

Runs in the editor's child process.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import symtable
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from inspect import Parameter, Signature
from typing import TypeGuard

from agent.genome.analysis import DEFINITIONS, bound_names, import_time_names, parse

_Function = ast.FunctionDef | ast.AsyncFunctionDef

_IMPLICIT_NAMES = {*dir(builtins), "__file__", "__annotations__", "__module__", "__qualname__"}
"""Names that a module or the body of a class has without binding them."""
_BUILTINS = ("builtins", "__builtins__")
_TOP_LEVEL = "the code at the top level"
"""How messages call a statement that binds no name."""


def names_are_open(text: str) -> bool:
    """Whether code may bind names that its text does not show: by `exec`, or by writing into the table of globals."""
    tree = parse(text)
    if "*" in imported_packages(text):
        return True
    read = {id(n.value) for n in ast.walk(tree) if _only_reads(n)}
    return any(isinstance(n, ast.Call) and _opens(n) and id(n) not in read for n in ast.walk(tree)) or any(
        isinstance(n, ast.Subscript) and ast.unparse(n) == "sys.modules[__name__]" for n in ast.walk(tree)
    )


def _opens(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    return name in ("exec", "globals") or (name == "vars" and not call.args)


def _only_reads(node: ast.AST) -> TypeGuard[ast.Subscript | ast.Attribute]:
    if isinstance(node, ast.Subscript):
        return isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Attribute) and node.attr in ("get", "keys", "items", "values", "copy")


def injected_builtins(texts: Iterable[str]) -> frozenset[str]:
    """Names that a program gives to all of its files, as in `builtins.display = print`."""
    return frozenset(
        node.attr
        for text in texts
        for node in ast.walk(parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in _BUILTINS
    )


def undefined_names(text: str) -> list[str]:
    """The names that are used and bound nowhere, sorted; none after a star import, which may bind any name."""
    if "*" in imported_packages(text):
        return []
    top = symtable.symtable(text, "program", "exec")
    used: set[str] = set()
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_annotated()}
    scopes = [top]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for symbol in scope.get_symbols():
            if scope is top or symbol.is_global():
                used |= {symbol.get_name()} if symbol.is_referenced() else set()
                bound |= {symbol.get_name()} if symbol.is_assigned() else set()  # `global x`, then `x = 1`
    return sorted(used - bound - _IMPLICIT_NAMES)


@lru_cache(maxsize=64)
def imported_packages(text: str) -> frozenset[str]:
    """The top-level packages that a file imports, and `*` for a star import."""
    packages: set[str] = set()
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages |= {"*"} if any(alias.name == "*" for alias in node.names) else set()
            packages |= {node.module.partition(".")[0]} if node.module and not node.level else set()
    return frozenset(packages)


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported; the package is not imported."""
    return package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None


@lru_cache(maxsize=64)
def early_reads(text: str) -> frozenset[tuple[str, str]]:
    """(reader, name) for each statement that reads a name on import before the file binds it.

    The reader is given by the first name that it binds.
    """
    body = parse(text).body
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body)
    bound_at = {name: place for place, node in reversed([*enumerate(body)]) for name in bound_names(node)}
    return frozenset(
        (_title(node), name)
        for place, node in enumerate(body)
        for name in import_time_names(node, annotations=not lazy)
        if bound_at.get(name, -1) > place and not hasattr(builtins, name) and name not in _bound_inside(node)
    )


def _title(node: ast.stmt) -> str:
    return min(bound_names(node), default=_TOP_LEVEL)


def _bound_inside(node: ast.stmt) -> set[str]:
    """Names that a class or a comprehension binds for itself: reading them does not read the file's names."""
    inner = [n for n in ast.walk(node) if n is not node]
    bound = {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return bound | {n.name for n in inner if isinstance(n, DEFINITIONS)}


def failing_calls(files: Mapping[str, str]) -> set[tuple[str, str, str]]:
    """(caller, call, reason) for each direct call of a program's own class or function whose arguments do not fit.

    Calls that cannot be judged without running them are left out: calls with stars, names that the caller binds itself,
    and decorated definitions or inherited constructors.
    """
    body = [node for text in files.values() for node in parse(text).body]
    bound = [name for node in body if not isinstance(node, ast.Import | ast.ImportFrom) for name in bound_names(node)]
    signatures = {
        node.name: signature
        for node in body
        if isinstance(node, DEFINITIONS) and bound.count(node.name) == 1 and (signature := _signature(node))
    }
    return {
        (_title(node), ast.unparse(call), reason)
        for node in body
        for name, call in _direct_calls(node)
        if name in signatures and (reason := _mismatch(signatures[name], call))
    }


def _direct_calls(node: ast.stmt) -> Iterator[tuple[str, ast.Call]]:
    """Yield (name, call) for each call of a plain name that the statement does not bind inside of itself."""
    inner = [n for n in ast.walk(node) if n is not node]
    own = {n.arg for n in inner if isinstance(n, ast.arg)} | _bound_inside(node)
    own |= {name for n in inner if isinstance(n, ast.Import | ast.ImportFrom) for name in bound_names(n)}
    for call in inner:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in own:
            yield call.func.id, call


def has_stars(call: ast.Call) -> bool:
    """Whether `*` or `**` hides how many arguments a call gives."""
    return any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)


def _mismatch(signature: Signature, call: ast.Call) -> str:
    """Why the arguments do not fit, in Python's words; empty if they fit."""
    if has_stars(call):
        return ""
    try:
        signature.bind(*call.args, **{keyword.arg: None for keyword in call.keywords if keyword.arg})
    except TypeError as error:
        return str(error)
    return ""


def _signature(node: ast.ClassDef | _Function) -> Signature | None:
    """How the function or class is called; None if its source does not say."""
    if node.decorator_list:
        return None
    if isinstance(node, _Function):
        return _signature_of(node.args)
    methods = {n.name: n for n in node.body if isinstance(n, _Function)}
    constructor = methods.get("__init__")
    if constructor is None or "__new__" in methods or node.keywords or constructor.decorator_list:
        return None
    return _signature_of(constructor.args, skip=1)


def _signature_of(args: ast.arguments, skip: int = 0) -> Signature | None:
    """The signature without its first `skip` parameters, such as `self`; None if it has fewer."""
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    parameters = []
    for place, arg in enumerate(positional):
        kind = Parameter.POSITIONAL_ONLY if place < len(args.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(Parameter(arg.arg, kind, default=Parameter.empty if place < required else None))
    if len(parameters) < skip:
        return None
    parameters = parameters[skip:]
    parameters += [Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL)] if args.vararg else []
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        parameters.append(Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None))
    parameters += [Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD)] if args.kwarg else []
    return Signature(parameters)
