"""What the rewrites are written with: finding calls in a block, reading and setting their arguments."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m

Apply = Callable[[cst.Module, random.Random], "tuple[cst.Module, str] | None"]


@dataclass(frozen=True)
class Rewrite:
    """One kind of change. `apply` returns the changed code and what it did in words, or None where it does not fit."""

    name: str
    directives: frozenset[str]
    apply: Apply


def code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def name_of(call: cst.Call) -> str:
    """`nn.Conv2d(...)` -> `Conv2d`."""
    return code(call.func).rpartition(".")[2]


def calls(module: cst.CSTNode, names: Collection[str]) -> list[cst.Call]:
    return [c for c in every_call(module) if name_of(c) in names]


def every_call(module: cst.CSTNode) -> list[cst.Call]:
    return [c for c in m.findall(module, m.Call()) if isinstance(c, cst.Call)]


def argument(call: cst.Call, position: int | None, keyword: str) -> str | None:
    """Source of an argument, however it was given."""
    for index, arg in enumerate(call.args):
        if (arg.keyword is None and index == position) or (arg.keyword is not None and arg.keyword.value == keyword):
            return code(arg.value)
    return None


def with_keyword(call: cst.Call, keyword: str, value: str, position: int | None = None) -> cst.Call:
    """The call with one argument set (replaced where it stands, else appended)."""
    args = []
    found = False
    for index, arg in enumerate(call.args):
        if (arg.keyword is not None and arg.keyword.value == keyword) or (arg.keyword is None and index == position):
            arg, found = arg.with_changes(value=cst.parse_expression(value)), True
        args.append(arg)
    if found:
        return call.with_changes(args=args)
    if args:
        args[-1] = args[-1].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    args.append(cst.Arg(cst.parse_expression(value), cst.Name(keyword), equal))
    return call.with_changes(args=args)


def without_keyword(call: cst.Call, keyword: str) -> cst.Call:
    args = [a for a in call.args if a.keyword is None or a.keyword.value != keyword]
    if args:
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return call.with_changes(args=args)


def swap(module: cst.Module, old: cst.CSTNode, new: cst.CSTNode | str) -> cst.Module:
    """The module with one node replaced (by identity)."""
    replacement = cst.parse_expression(new) if isinstance(new, str) else new
    changed = module.deep_replace(old, replacement)
    assert isinstance(changed, cst.Module)
    return changed


def number(text: str | None) -> float | None:
    """The value of a plain number; None for anything else."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def defaults(module: cst.CSTNode, names: Collection[str]) -> list[cst.Param]:
    """Parameters of these names that have a plain number as default."""
    found = [p for p in m.findall(module, m.Param()) if isinstance(p, cst.Param) and p.default is not None]
    return [p for p in found if p.name.value in names and p.default is not None and number(code(p.default)) is not None]


def has_method(module: cst.Module, method: str) -> bool:
    return bool(m.findall(module, m.FunctionDef(name=m.Name(method))))


def in_forward(module: cst.Module) -> cst.FunctionDef | None:
    for node in m.findall(module, m.FunctionDef(name=m.Name("forward"))):
        if isinstance(node, cst.FunctionDef):
            return node
    return None


def tidy(value: float) -> str:
    """A number as a person writes it."""
    if value == int(value) and abs(value) >= 1:
        return str(int(value))
    return f"{value:.3g}"
