"""The contract: what must hold between a program before and after an edit. Runs in the editor's child process."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import symtable
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from agent.genome.calls import failing_calls
from agent.genome.facts import DEFINITIONS, ENTRY_POINTS, bound_names, meanings, mentioned, reached
from agent.genome.order import too_early
from agent.genome.syntax import parse

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Function = ast.FunctionDef | ast.AsyncFunctionDef

_GIVEN = {*dir(builtins), "__file__", "__annotations__", "__module__", "__qualname__"}
"""Names that a module or the body of a class has without binding them."""
_CALLED_WITH = {"build_model": 2, "build_optimizer": 2, "augment": 2, "loss": 2}
"""How many arguments image classification gives to each of its entry points."""


def broken(
    before: Mapping[str, str], after: Mapping[str, str], names: Collection[str], entries: Collection[str]
) -> tuple[str, ...]:
    """What an edit breaks, one sentence each; empty if the contract holds. `entries`: what the task calls.

    `names`: blocks that were asked for, each with the signature that it must keep. Without any, the answer was free to
    change definitions together with their call sites: a block keeps its kind and signature where something that did
    not change still uses it, or where the framework calls it.
    """
    reasons: list[str] = []
    outside = [*_unchanged(before, after, entries)]
    attributes = {node.attr for statement in outside for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    local = {part for path in after for part in (path.removesuffix(".py"), *path.split("/")[:-1])}
    for path in (path for path in after if after[path] != before[path]):
        old, new = _definitions(before[path]), _definitions(after[path])
        for name in names or sorted(old.keys() & new.keys()):
            if name in old and ast.dump(old[name]) != ast.dump(new[name]):
                users = [] if names else _users(name, outside)
                if names or users or name in entries:
                    # Where all that is known to use it is calls, these are compared with the new parameters, below.
                    called = _only_called(name, users) and name not in entries
                    reasons += _told(_changes(name, old[name], new[name], attributes, called=called), users)
        reasons += _imports_that_fail(before[path], after[path], local)
        reasons += _undefined(after[path])
        for who, what in sorted(too_early(after[path]) - too_early(before[path])):
            reasons.append(f"`{who}` needs `{what}` while the file is imported, but that is defined further down.")
        reasons += _entries_that_fail(old, new) if set(entries) == set(ENTRY_POINTS) else []
    for caller, call, reason in sorted(failing_calls(after) - failing_calls(before)):
        reasons.append(f"`{caller}` calls `{call[:120]}`, which does not fit: {reason}.")
    return tuple(reasons)


def _definitions(text: str) -> dict[str, _Definition]:
    return {node.name: node for node in parse(text).body if isinstance(node, _Definition)}


def _unchanged(before: Mapping[str, str], after: Mapping[str, str], entries: Collection[str]) -> Iterator[ast.stmt]:
    """The statements that an edit left as they were and that matter: what nothing leads to has no call sites."""
    alive = reached(after.values(), entries)
    for path, text in after.items():
        old = set(meanings(before[path]))
        for node, meaning in zip(parse(text).body, meanings(text), strict=True):
            dead = alive and isinstance(node, DEFINITIONS) and node.name not in alive
            if not dead and meaning in old:
                yield node


def _users(name: str, outside: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Those that mean the block, by an import under another name as well."""
    return [
        node
        for node in outside
        if (
            any(alias.name == name and alias.asname not in (None, name) for alias in node.names)
            if isinstance(node, ast.Import | ast.ImportFrom)
            else name in mentioned(node)
        )
    ]


def _told(reasons: Sequence[str], users: Sequence[ast.stmt]) -> list[str]:
    """Each with who still relies on it."""
    callers = ", ".join(f"`{name}`" for node in users for name in sorted(bound_names(node)))
    return [f"{reason.removesuffix('.')}: {callers} still uses it as it was." if callers else reason for reason in reasons]


def _only_called(name: str, users: Sequence[ast.stmt]) -> bool:
    """All that they do with the block is calling it, so that their arguments can be compared with its new parameters."""
    for user in users:
        if isinstance(user, ast.Import | ast.ImportFrom):
            return False
        called = {
            id(node.func)
            for node in ast.walk(user)
            if isinstance(node, ast.Call)
            and not any(isinstance(a, ast.Starred) for a in node.args)
            and all(k.arg for k in node.keywords)
        }
        for node in ast.walk(user):
            if isinstance(node, ast.Name) and node.id == name and id(node) not in called:
                return False
            if isinstance(node, ast.Attribute) and node.attr == name:
                return False
            if isinstance(node, ast.Constant) and node.value == name:
                return False
    return bool(users)


def _changes(name: str, old: _Definition, new: _Definition, used: Collection[str], *, called: bool) -> list[str]:
    """Kind, parameters and methods that must stay. `used`: attributes that are read outside of the edit.

    `called`: it is called and nothing else, so that its own parameters, a class's `__init__`, may change.
    """
    if isinstance(old, ast.ClassDef) != isinstance(new, ast.ClassDef):
        return [f"`{name}` must stay a {'class' if isinstance(old, ast.ClassDef) else 'function'}."]
    called = called and not new.decorator_list
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        before, after = _methods(old), _methods(new)
        reasons = []
        for method, function in before.items():
            if method == "__init__" and method in after and called:
                continue
            if method in ("__init__", "__call__", "forward") or (method in used and not method.startswith("_")):
                if method in after:
                    reasons += _parameter_changes(f"{name}.{method}", function.args, after[method].args)
                elif not (method == "__init__" and _required(function.args) <= 1) and not new.decorator_list:
                    reasons.append(f"`{name}` must keep its method `{method}`.")
        if not called and "__init__" not in before and "__init__" in after and _required(after["__init__"].args) > 1:
            reasons.append(f"`{name}` is created without arguments: every parameter of `__init__` needs a default.")
        return reasons
    assert isinstance(old, _Function) and isinstance(new, _Function)
    if isinstance(old, ast.AsyncFunctionDef) != isinstance(new, ast.AsyncFunctionDef):
        return [f"`{name}` must stay {'async' if isinstance(old, ast.AsyncFunctionDef) else 'a plain function'}."]
    return [] if called else _parameter_changes(name, old.args, new.args)


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


def _entries_that_fail(old: Mapping[str, _Definition], new: Mapping[str, _Definition]) -> list[str]:
    """New functions that the framework calls, and how it does."""
    reasons = []
    for name, given in _CALLED_WITH.items():
        node = new.get(name)
        if isinstance(node, ast.FunctionDef) and name not in old and not node.decorator_list:
            places = len(node.args.posonlyargs) + len(node.args.args)
            fits = _required(node.args) <= given and (places >= given or node.args.vararg)
            if not fits or None in node.args.kw_defaults:
                reasons.append(f"`{name}` is called by the framework with {given} arguments, which it must take.")
    return reasons


def _imports_that_fail(before: str, after: str, local: Collection[str]) -> list[str]:
    """New imports of what is not installed; found without importing anything. `local`: the program's own modules."""
    known = _imported(before) | set(local)
    reasons = []
    for module in sorted(_imported(after) - known):
        if module == "*":
            reasons.append("Star imports are not allowed: import the names that you use.")
        elif module not in sys.stdlib_module_names and importlib.util.find_spec(module) is None:
            reasons.append(f"The module `{module}` is not installed; use PyTorch and the standard library.")
    return reasons


@lru_cache(maxsize=64)
def _imported(text: str) -> frozenset[str]:
    """Top-level packages, and `*` for a star import."""
    found: set[str] = set()
    for node in ast.walk(parse(text)):
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
