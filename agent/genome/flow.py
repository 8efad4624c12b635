"""Where a value comes from: the functions, classes and methods of a program that an expression's value passes through.

Errs on the side of too much: names are compared without their scopes wherever a scope is not known.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.genome.analysis import DEFINITIONS

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FILLS = frozenset({"append", "add", "extend", "update", "insert", "setdefault", "appendleft", "put", "write"})
"""Methods that put a value into what they are called on."""


@dataclass(frozen=True)
class Source:
    """Something of the program that a value passes through."""

    name: str
    """A function, a class or, if `is_method`, a method of any class."""
    is_method: bool
    closely: bool
    """Its result is, or becomes a part of, the value. Else it only made something that the value was computed with."""


@dataclass(frozen=True)
class Names:
    """What the names of a program mean."""

    own: frozenset[str]
    """Top-level functions and classes."""
    methods: frozenset[str]
    aliases: dict[str, str]
    """Names under which own definitions are imported, by the name that is used."""
    makers: frozenset[str]
    """Those of `own` that make or train a network: what they are given is no part of what is done with the network."""
    shared: dict[str, list[ast.expr]]
    """What is bound at the top level of any file, as `bindings` returns it: it can be read everywhere."""


class Slice:
    """The backward slice of a few expressions in one scope: all that their values depend on there."""

    def __init__(self, names: Names, scope: Sequence[ast.stmt], owner: ast.ClassDef | None = None) -> None:
        """`scope`: a function, a class, or the statements at the top level; `owner`: the class of a method."""
        self._names = names
        self._local = bindings(scope)
        around = [*scope, *([owner] if owner else [])]
        self._parameters = {n.arg for statement in around for n in ast.walk(statement) if isinstance(n, ast.arg)}
        members = bindings(owner.body) if owner else {}
        self._local |= {name: values for name, values in members.items() if name.startswith(".")}
        self.names: dict[str, bool] = {}
        """Every name that was followed, among them parameters, and whether closely; an attribute of `self` begins with a dot."""
        self.sources: set[Source] = set()

    def follow(self, node: ast.AST, closely: bool = True) -> None:
        """Add what the value of an expression depends on. `closely`: see `Source`."""
        match node:
            case ast.Call():
                self._call(node, closely)
            case ast.Name():
                self._name(node.id, closely)
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
                self._member(attribute, closely)
                self._name(f".{attribute}", closely)
            case ast.Attribute(value=value, attr=attribute):
                self._member(attribute, closely)
                self.follow(value, closely)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.follow(child, closely)

    def _call(self, call: ast.Call, closely: bool) -> None:
        passes_on = True
        match call.func:
            case ast.Name(id=name) if self._real(name) in self._names.own:
                self._name(name, closely)
                if self._real(name) in self._names.makers:
                    return
                passes_on = False
            case ast.Name(id=name):
                self._name(name, False)
            case ast.Attribute(value=value, attr=attribute):
                passes_on = not self._member(attribute, closely)
                if isinstance(value, ast.Name) and value.id == "self":
                    self._name(f".{attribute}", False)
                self.follow(value, closely and passes_on)
            case other:
                self.follow(other, False)
        # What an own function is given, it was computed with: a network that is evaluated is no part of the measurement.
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            self.follow(argument, closely and passes_on)

    def _member(self, attribute: str, closely: bool) -> bool:
        """Note an attribute that may be a method, or a function of an imported file; return whether it may be."""
        if attribute in self._names.methods:
            self.sources.add(Source(attribute, True, closely))
        if attribute in self._names.own:
            self.sources.add(Source(attribute, False, closely))
        return attribute in self._names.methods or attribute in self._names.own

    def _real(self, name: str) -> str:
        return self._names.aliases.get(name, name)

    def _name(self, name: str, closely: bool) -> None:
        if name in self.names and (self.names[name] or not closely):
            return
        self.names[name] = closely
        known = name in self._local or name in self._parameters
        values = self._local.get(name, []) if known else self._names.shared.get(name, [])
        if not known and not values and self._real(name) in self._names.own:
            self.sources.add(Source(self._real(name), False, closely))
        for value in values:
            self.follow(value, closely)


def bindings(scope: Sequence[ast.stmt]) -> dict[str, list[ast.expr]]:
    """The expressions that each name gets its value from, or a part of it; attributes of `self` begin with a dot."""
    found: dict[str, list[ast.expr]] = {}
    for node in (inner for statement in scope for inner in ast.walk(statement)):
        if isinstance(node, _Function) and node not in scope:  # an inner function: a call of it has the value of its results
            found.setdefault(node.name, []).extend(results(node))
        for target, value in bound(node):
            for name in roots(target):
                found.setdefault(name, []).append(value)
    return found


def bound(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield (target, value) of each way in which a node gives a value to something."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if len(targets) == len(values):
            yield from zip(targets, values, strict=True)
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
            yield target, value
        case ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
            yield target, value
        case ast.comprehension(target=target, iter=value):
            yield target, value
        case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
            yield target, value
        case ast.Call(func=ast.Attribute(value=target, attr=attribute)) if attribute in _FILLS:
            yield from ((target, value) for value in (*node.args, *(keyword.value for keyword in node.keywords)))


def roots(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Attribute(value=ast.Name(id="self"), attr=attribute):
            yield f".{attribute}"
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            yield from roots(value)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from roots(part)


def results(function: ast.AST) -> list[ast.expr]:
    """What a function returns, yields, or leaves in names and attributes that outlive it."""
    found: list[ast.expr] = []
    outliving = {name for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and node.value is not None:
            found.append(node.value)
        found += [value for target, value in bound(node) if {*roots(target)} & outliving]
    return found


def given_to(function: _Function, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Yield (parameter, expression) for each argument of a call of this function, or of this method of an object."""
    args = function.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    for place, value in enumerate(call.args):
        if place < len(names):
            yield names[place], value
        elif args.vararg:
            yield args.vararg.arg, value
    for keyword in call.keywords:
        known = keyword.arg in {arg.arg for arg in (*args.args, *args.kwonlyargs)}
        if keyword.arg and (known or args.kwarg):
            yield (keyword.arg if known or not args.kwarg else args.kwarg.arg), keyword.value


def top_level(tree: ast.Module) -> list[ast.stmt]:
    """The statements of a file that are no definitions."""
    return [node for node in tree.body if not isinstance(node, DEFINITIONS)]
