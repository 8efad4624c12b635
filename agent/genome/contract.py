"""The block contract: what must hold between a file before and after an edit. Runs in the editor's child process."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import symtable
import sys
from collections.abc import Collection, Iterable
from functools import lru_cache

_Function = ast.FunctionDef | ast.AsyncFunctionDef

_GIVEN = {*dir(builtins), "__file__", "__annotations__", "__module__", "__qualname__"}
"""Names that a module or the body of a class has without binding them."""


def broken(before: str, after: str, names: Collection[str], other_files: Iterable[str] = ()) -> tuple[str, ...]:
    """What the edit of the blocks `names` breaks, one sentence each; empty if the contract holds."""
    old, new = _definitions(before), _definitions(after)
    used = frozenset[str]().union(*map(_attributes, (before, *other_files)))
    reasons: list[str] = []
    for name in names:
        if isinstance(old[name], ast.ClassDef) != isinstance(new[name], ast.ClassDef):
            kind = "class" if isinstance(old[name], ast.ClassDef) else "function"
            reasons.append(f"`{name}` must stay a {kind}.")
        else:
            reasons += _signature_changes(name, old[name], new[name], used)
    return (*reasons, *_imports_that_fail(before, after), *_undefined(after))


@lru_cache(maxsize=256)
def _attributes(text: str) -> frozenset[str]:
    return frozenset(node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute))


@lru_cache(maxsize=16)
def _definitions(text: str) -> dict[str, ast.ClassDef | _Function]:
    found = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in ast.parse(text).body if isinstance(node, found)}


def _signature_changes(
    name: str, old: ast.ClassDef | _Function, new: ast.ClassDef | _Function, used: Collection[str]
) -> list[str]:
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        before, after = _methods(old), _methods(new)
        reasons = []
        for method, function in before.items():
            if method in ("__init__", "__call__", "forward") or (method in used and not method.startswith("_")):
                if method in after:
                    reasons += _parameter_changes(f"{name}.{method}", function.args, after[method].args)
                elif not (method == "__init__" and _required(function.args) <= 1) and not new.decorator_list:
                    reasons.append(f"`{name}` must keep its method `{method}`.")
        if "__init__" not in before and "__init__" in after and _required(after["__init__"].args) > 1:
            reasons.append(f"`{name}` is created without arguments: every parameter of `__init__` needs a default.")
        return reasons
    assert isinstance(old, _Function) and isinstance(new, _Function)
    if isinstance(old, ast.AsyncFunctionDef) != isinstance(new, ast.AsyncFunctionDef):
        return [f"`{name}` must stay {'async' if isinstance(old, ast.AsyncFunctionDef) else 'a plain function'}."]
    return _parameter_changes(name, old.args, new.args)


def _methods(node: ast.ClassDef) -> dict[str, _Function]:
    return {n.name: n for n in node.body if isinstance(n, _Function)}


def _required(args: ast.arguments) -> int:
    """How many positional parameters have no default."""
    return len(args.posonlyargs) + len(args.args) - len(args.defaults)


def _parameter_changes(where: str, old: ast.arguments, new: ast.arguments) -> list[str]:
    """Old positional parameters must stay at their place under their name, new ones need defaults."""
    before, after = [a.arg for a in (*old.posonlyargs, *old.args)], [a.arg for a in (*new.posonlyargs, *new.args)]
    reasons = []
    for position, parameter in enumerate(before):
        if position < len(after) and after[position] == parameter:
            if position < _required(new) and position >= _required(old):
                reasons.append(f"`{where}`: the parameter `{parameter}` must keep a default value.")
        elif new.vararg is None or parameter in after:
            reasons.append(f"`{where}`: the parameter `{parameter}` must stay at position {position + 1} under this name.")
    for position, parameter in enumerate(after):
        if parameter not in before and position < _required(new):
            reasons.append(f"`{where}`: the new parameter `{parameter}` needs a default value.")
    keywords = {a.arg: default for a, default in zip(new.kwonlyargs, new.kw_defaults, strict=True)}
    old_keywords = {a.arg: default for a, default in zip(old.kwonlyargs, old.kw_defaults, strict=True)}
    for parameter, default in old_keywords.items():
        if parameter not in keywords and parameter not in after and new.kwarg is None:
            reasons.append(f"`{where}`: the keyword parameter `{parameter}` must stay.")
        elif default is not None and parameter in keywords and keywords[parameter] is None:
            reasons.append(f"`{where}`: the keyword parameter `{parameter}` must keep a default value.")
    for parameter, default in keywords.items():
        if parameter not in old_keywords and parameter not in before and default is None:
            reasons.append(f"`{where}`: the new keyword parameter `{parameter}` needs a default value.")
    if old.vararg and not new.vararg:
        reasons.append(f"`{where}`: `*{old.vararg.arg}` must stay.")
    if old.kwarg and not new.kwarg:
        reasons.append(f"`{where}`: `**{old.kwarg.arg}` must stay.")
    return reasons


def _imports_that_fail(before: str, after: str) -> list[str]:
    """New imports of what is not installed; found without importing anything."""
    known = _imported(before)
    reasons = []
    for module in sorted(_imported(after) - known):
        if module == "*":
            reasons.append("Star imports are not allowed: import the names that you use.")
        elif module not in sys.stdlib_module_names and importlib.util.find_spec(module) is None:
            reasons.append(f"The module `{module}` is not installed; use PyTorch and the standard library.")
    return reasons


@lru_cache(maxsize=256)
def _imported(text: str) -> frozenset[str]:
    """Top-level packages, and `*` for a star import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {"*"} if any(alias.name == "*" for alias in node.names) else set()
            found |= {node.module.partition(".")[0]} if node.module and not node.level else set()
    return frozenset(found)


def _undefined(text: str) -> list[str]:
    """Names that are used and bound nowhere. A star import hides them; then none is reported."""
    if "*" in _imported(text):
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
    return [f"The name `{name}` is not defined." for name in sorted(used - bound - _GIVEN)]
