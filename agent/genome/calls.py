"""Direct calls of a program's own functions and classes: do the arguments fit the parameters?"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature

from agent.genome.facts import DEFINITIONS, bound_names
from agent.genome.syntax import parse

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def failing_calls(files: Mapping[str, str]) -> set[tuple[str, str, str]]:
    """(the caller, the call, why it fails). What cannot be told without running it is left out.

    That is: calls with stars, names that mean something else inside of the caller, decorated or inherited constructors.
    """
    body = [node for text in files.values() for node in parse(text).body]
    binders = [name for node in body if not isinstance(node, ast.Import | ast.ImportFrom) for name in bound_names(node)]
    known = {
        node.name: signature
        for node in body
        if isinstance(node, DEFINITIONS) and binders.count(node.name) == 1 and (signature := _signature(node))
    }
    return {
        (caller, ast.unparse(call), reason)
        for node in body
        for caller, call in _direct_calls(node)
        if call.func.id in known and (reason := _misfit(known[call.func.id], call))  # type: ignore[attr-defined]
    }


def _direct_calls(node: ast.stmt) -> Iterator[tuple[str, ast.Call]]:
    inner = [n for n in ast.walk(node) if n is not node]
    own = {n.arg for n in inner if isinstance(n, ast.arg)}
    own |= {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {name for n in inner if isinstance(n, ast.Import | ast.ImportFrom) for name in bound_names(n)}
    own |= {n.name for n in inner if isinstance(n, DEFINITIONS)}
    for call in inner:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in own:
            yield next(iter(sorted(bound_names(node))), "the code at the top level"), call


def _misfit(signature: Signature, call: ast.Call) -> str:
    """Empty if the arguments fit."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return ""
    try:
        signature.bind(*call.args, **{keyword.arg: None for keyword in call.keywords if keyword.arg})
    except TypeError as error:
        return str(error)
    return ""


def _signature(node: ast.stmt) -> Signature | None:
    """How the function or class is called; None if that cannot be told."""
    if not isinstance(node, DEFINITIONS) or node.decorator_list:
        return None
    if isinstance(node, _Function):
        return _of(node.args)
    methods = {n.name: n for n in node.body if isinstance(n, _Function)}
    found = methods.get("__init__")
    if found is None or "__new__" in methods or node.keywords or found.decorator_list:
        return None
    return _of(found.args, given=1)


def _of(args: ast.arguments, given: int = 0) -> Signature | None:
    """Without the first parameters, which are given already."""
    places = [*args.posonlyargs, *args.args]
    required = len(places) - len(args.defaults)
    found = []
    for place, arg in enumerate(places):
        kind = Parameter.POSITIONAL_ONLY if place < len(args.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD
        found.append(Parameter(arg.arg, kind, default=Parameter.empty if place < required else None))
    if len(found) < given:
        return None
    found = found[given:]
    found += [Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL)] if args.vararg else []
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is None else None))
    found += [Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD)] if args.kwarg else []
    return Signature(found)
