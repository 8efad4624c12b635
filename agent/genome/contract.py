"""The contract: what must hold between a program before and after an edit. Runs in the editor's child process."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence

from agent.genome.analysis import (
    DEFINITIONS,
    ENTRY_POINTS,
    bound_names,
    meanings,
    mentioned_names,
    parse,
    reachable_names,
    without_docstrings,
)
from agent.genome.genome import bare_name, methods_of
from agent.genome.static_checks import (
    early_reads,
    failing_calls,
    has_stars,
    imported_packages,
    injected_builtins,
    is_installed,
    names_are_open,
    undefined_names,
)

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Import = ast.Import | ast.ImportFrom

_ENTRY_POINT_ARGUMENTS = dict.fromkeys(ENTRY_POINTS, 2)
"""How many arguments image classification passes to each of its entry points."""


def contract_violations(
    before: Mapping[str, str],
    after: Mapping[str, str],
    names: Collection[str],
    entry_points: Collection[str],
    frozen: Collection[str] = (),
) -> tuple[str, ...]:
    """What an edit breaks, one sentence each; empty if the contract holds.

    `names`: the blocks that were asked for, without paths; each must keep its signature. If empty, the answer was free to
    change definitions together with their call sites: then a block must keep its kind and signature only where a
    statement that did not change still uses it, or where the task calls it.
    `entry_points`: names of the functions that the task calls. `frozen`: as in `Genome`; of these only methods are compared.
    """
    reasons: list[str] = []
    unchanged = [*_unchanged_statements(before, after, entry_points)]
    own_modules = {part for path in after for part in (path.removesuffix(".py"), *path.split("/")[:-1])}
    injected = injected_builtins(before.values())
    for path in (path for path in after if after[path] != before[path]):
        old, new = _definitions(before[path]), _definitions(after[path])
        for name in names or sorted(old.keys() & new.keys()):
            if name in old and ast.dump(old[name]) != ast.dump(new[name]):
                kept = {"asked_for": bool(names), "entry_point": name in entry_points}
                reasons += _signature_violations(old[name], new[name], unchanged, **kept)
        reasons += _changes_of_methods(old, new, {bare_name(n) for n in frozen if n in (bare_name(n), f"{path}:{bare_name(n)}")})
        reasons += _import_violations(before[path], after[path], own_modules)
        if not names_are_open(before[path]):
            known = injected | {*undefined_names(before[path])}  # not the answer's fault: a notebook may bind it
            reasons += [f"The name `{name}` is not defined." for name in undefined_names(after[path]) if name not in known]
        for reader, name in sorted(early_reads(after[path]) - early_reads(before[path])):
            reasons.append(f"`{reader}` needs `{name}` while the file is imported, but that is defined further down.")
        if set(entry_points) == set(ENTRY_POINTS):
            reasons += _entry_point_violations(old, new)
    for caller, call, reason in sorted(failing_calls(after) - failing_calls(before)):
        reasons.append(f"`{caller}` calls `{call[:120]}`, which does not fit: {reason}.")
    return tuple(reasons)


def _definitions(text: str) -> dict[str, _Definition]:
    return {node.name: node for node in parse(text).body if isinstance(node, _Definition)}


def _changes_of_methods(old: Mapping[str, _Definition], new: Mapping[str, _Definition], frozen: Collection[str]) -> Iterator[str]:
    """Why new versions of classes that changed a frozen method, such as `Net.validation_step`, cannot be used."""
    for name in sorted(name for name in frozen if "." in name):
        owner, _, method = name.partition(".")
        before, after = old.get(owner), new.get(owner)
        if before is None or after is None:
            continue  # what is gone is refused where anything uses it
        if _methods_called(before, method) != _methods_called(after, method):
            yield f"`{name}` is frozen: keep it as it is in `{owner}`."


def _methods_called(node: _Definition, name: str) -> list[str]:
    """The meanings of the methods of this name; several with `@property` and its setter."""
    plain = without_docstrings(node)
    return [ast.dump(n) for n in methods_of(plain) if n.name == name] if isinstance(plain, ast.ClassDef) else []


def _unchanged_statements(
    before: Mapping[str, str], after: Mapping[str, str], entry_points: Collection[str]
) -> Iterator[ast.stmt]:
    """Yield the top-level statements that the edit left as they were, except definitions that nothing reaches."""
    reachable = reachable_names(after.values(), entry_points)
    for path, text in after.items():
        old = set(meanings(before[path]))
        for node, meaning in zip(parse(text).body, meanings(text), strict=True):
            dead = reachable and isinstance(node, DEFINITIONS) and node.name not in reachable
            if not dead and meaning in old:
                yield node


def _signature_violations(
    old: _Definition, new: _Definition, unchanged: Sequence[ast.stmt], *, asked_for: bool, entry_point: bool
) -> list[str]:
    """What the new version of one block changes although other code relies on it."""
    users = [] if asked_for else [node for node in unchanged if _refers_to(node, old.name)]
    if not (asked_for or users or entry_point):
        return []
    used_attributes = {node.attr for statement in unchanged for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    # Calls are compared with the new parameters by `failing_calls`, so parameters may change where there are only calls.
    free_parameters = not entry_point and _is_only_called(old.name, users)
    reasons = _incompatibilities(old, new, used_attributes, free_parameters)
    callers = ", ".join(f"`{name}`" for node in users for name in sorted(bound_names(node)))
    return [f"{reason.removesuffix('.')}: {callers} still uses it as it was." if callers else reason for reason in reasons]


def _refers_to(node: ast.stmt, name: str) -> bool:
    """Whether a statement uses the block. A plain import does not count, but an import under another name does."""
    if isinstance(node, _Import):
        return any(alias.name == name and alias.asname not in (None, name) for alias in node.names)
    return name in mentioned_names(node)


def _is_only_called(name: str, users: Sequence[ast.stmt]) -> bool:
    """Whether the users only call the block, in calls without stars, so that the arguments can be checked."""
    for user in users:
        if isinstance(user, _Import):
            return False
        called = {id(node.func) for node in ast.walk(user) if isinstance(node, ast.Call) and not has_stars(node)}
        for node in ast.walk(user):
            if isinstance(node, ast.Name) and node.id == name and id(node) not in called:
                return False
            if isinstance(node, ast.Attribute) and node.attr == name:
                return False
            if isinstance(node, ast.Constant) and node.value == name:
                return False
    return bool(users)


def _incompatibilities(old: _Definition, new: _Definition, used_attributes: Collection[str], free_parameters: bool) -> list[str]:
    """How the kind, the parameters or the methods of a block changed in ways that break its users.

    `used_attributes`: names of attributes that unchanged code reads; methods of these names must stay.
    `free_parameters`: the block's own parameters (for a class, those of `__init__`) may change.
    """
    name = old.name
    if isinstance(old, ast.ClassDef) != isinstance(new, ast.ClassDef):
        return [f"`{name}` must stay a {'class' if isinstance(old, ast.ClassDef) else 'function'}."]
    free_parameters = free_parameters and not new.decorator_list
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        return _class_incompatibilities(old, new, used_attributes, free_parameters)
    assert isinstance(old, _Function) and isinstance(new, _Function)
    if isinstance(old, ast.AsyncFunctionDef) != isinstance(new, ast.AsyncFunctionDef):
        return [f"`{name}` must stay {'async' if isinstance(old, ast.AsyncFunctionDef) else 'a plain function'}."]
    return [] if free_parameters else _parameter_incompatibilities(name, old.args, new.args)


def _class_incompatibilities(
    old: ast.ClassDef, new: ast.ClassDef, used_attributes: Collection[str], free_parameters: bool
) -> list[str]:
    name, before, after = old.name, _methods(old), _methods(new)
    reasons = []
    for method, function in before.items():
        if method == "__init__" and method in after and free_parameters:
            continue
        if method in ("__init__", "__call__", "forward") or (method in used_attributes and not method.startswith("_")):
            if method in after:
                reasons += _parameter_incompatibilities(f"{name}.{method}", function.args, after[method].args)
            elif not (method == "__init__" and _n_required(function.args) <= 1) and not new.decorator_list:
                reasons.append(f"`{name}` must keep its method `{method}`.")
    if not free_parameters and "__init__" not in before and "__init__" in after and _n_required(after["__init__"].args) > 1:
        reasons.append(f"`{name}` is created without arguments: every parameter of `__init__` needs a default.")
    return reasons


def _methods(node: ast.ClassDef) -> dict[str, _Function]:
    return {n.name: n for n in node.body if isinstance(n, _Function)}


def _n_required(args: ast.arguments) -> int:
    """The number of positional parameters without a default."""
    return len(args.posonlyargs) + len(args.args) - len(args.defaults)


def _parameter_incompatibilities(where: str, old: ast.arguments, new: ast.arguments) -> list[str]:
    """Old parameters must stay at their place under their name, and new ones need defaults. `where`: for the messages."""
    reasons = _positional_incompatibilities(where, old, new) + _keyword_incompatibilities(where, old, new)
    if old.vararg and not new.vararg:
        reasons.append(f"`{where}`: `*{old.vararg.arg}` must stay.")
    if old.kwarg and not new.kwarg:
        reasons.append(f"`{where}`: `**{old.kwarg.arg}` must stay.")
    return reasons


def _positional_names(args: ast.arguments) -> list[str]:
    return [arg.arg for arg in (*args.posonlyargs, *args.args)]


def _positional_incompatibilities(where: str, old: ast.arguments, new: ast.arguments) -> list[str]:
    before, after = _positional_names(old), _positional_names(new)
    reasons = []
    for position, parameter in enumerate(before):
        if position < len(after) and after[position] == parameter:
            if position < _n_required(new) and position >= _n_required(old):
                reasons.append(f"`{where}`: the parameter `{parameter}` must keep a default value.")
        elif new.vararg is None or parameter in after:
            reasons.append(f"`{where}`: the parameter `{parameter}` must stay at position {position + 1} under this name.")
    for position, parameter in enumerate(after):
        if parameter not in before and position < _n_required(new):
            reasons.append(f"`{where}`: the new parameter `{parameter}` needs a default value.")
    return reasons


def _keyword_incompatibilities(where: str, old: ast.arguments, new: ast.arguments) -> list[str]:
    before, after = (
        {arg.arg: default for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)} for args in (old, new)
    )
    reasons = []
    for parameter, default in before.items():
        if parameter not in after and parameter not in _positional_names(new) and new.kwarg is None:
            reasons.append(f"`{where}`: the keyword parameter `{parameter}` must stay.")
        elif default is not None and parameter in after and after[parameter] is None:
            reasons.append(f"`{where}`: the keyword parameter `{parameter}` must keep a default value.")
    for parameter, default in after.items():
        if parameter not in before and parameter not in _positional_names(old) and default is None:
            reasons.append(f"`{where}`: the new keyword parameter `{parameter}` needs a default value.")
    return reasons


def _import_violations(before: str, after: str, own_modules: Collection[str]) -> list[str]:
    """New imports that would fail. `own_modules`: the program's modules and packages, which are not installed."""
    reasons = []
    for package in sorted(imported_packages(after) - imported_packages(before) - set(own_modules)):
        if package == "*":
            reasons.append("Star imports are not allowed: import the names that you use.")
        elif not is_installed(package):
            reasons.append(f"The module `{package}` is not installed; use PyTorch and the standard library.")
    return reasons


def _entry_point_violations(old: Mapping[str, _Definition], new: Mapping[str, _Definition]) -> list[str]:
    """New functions with the name of an entry point that the framework could not call."""
    reasons = []
    for name, given in _ENTRY_POINT_ARGUMENTS.items():
        node = new.get(name)
        if isinstance(node, ast.FunctionDef) and name not in old and not node.decorator_list:
            positional = len(_positional_names(node.args))
            fits = _n_required(node.args) <= given and (positional >= given or node.args.vararg)
            if not fits or None in node.args.kw_defaults:
                reasons.append(f"`{name}` is called by the framework with {given} arguments, which it must take.")
    return reasons
