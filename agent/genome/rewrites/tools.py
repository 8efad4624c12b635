"""Helpers that the rewrites are written with: directives, finding calls in a block, reading and setting their arguments."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

import libcst as cst
import libcst.matchers as m

PARAMETERS, UNCOMMON_PARAMETERS, COMPLEX = "parameters", "uncommon parameters", "complex"
REDUCE, UNCOMMON, SIGNIFICANT = "reduce size", "uncommon", "significant"
DIRECTIVES = (PARAMETERS, UNCOMMON_PARAMETERS, COMPLEX, REDUCE, UNCOMMON, SIGNIFICANT)
"""The kinds of changes that prompts ask for by name."""

Result = tuple[cst.Module, str] | None
"""The changed code and what was changed, in words; None where a rewrite does not fit."""
Apply = Callable[[cst.Module, random.Random], Result]


@dataclass(frozen=True)
class Rewrite:
    """One kind of change to a block, and the directives that ask for such a change."""

    name: str
    directives: frozenset[str]
    apply: Apply


def make_rewrites(*table: tuple[Apply, Collection[str]]) -> tuple[Rewrite, ...]:
    """Rewrites from pairs of a function and its directives, each under its function's name."""
    return tuple(Rewrite(function.__name__, frozenset(directives), function) for function, directives in table)


def code_of(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def called_name(call: cst.Call) -> str:
    """`nn.Conv2d(...)` -> `Conv2d`."""
    return code_of(call.func).rpartition(".")[2]


_OFTEN_OWN = frozenset({"LayerNorm", "Linear", "Conv2d", "BatchNorm2d"})
"""Layers that programs write themselves under the same name, with other arguments: only `nn.Linear` and the like are torch's."""


def calls_of(module: cst.CSTNode, names: Collection[str]) -> list[cst.Call]:
    """The calls of what torch has under these names."""
    found = [c for c in all_calls(module) if called_name(c) in names]
    return [c for c in found if not (isinstance(c.func, cst.Name) and called_name(c) in _OFTEN_OWN)]


def is_wrapped(module: cst.CSTNode, call: cst.Call) -> bool:
    """Whether a function gets the layer, as in `weight_norm(nn.Linear(...))`: it may need the layer's kind, or its bias."""
    return any(called_name(outer)[:1].islower() and any(arg.value is call for arg in outer.args) for outer in all_calls(module))


@lru_cache(maxsize=16)  # many rules look at the same tree, which never changes
def all_calls(module: cst.CSTNode) -> list[cst.Call]:
    return [c for c in m.findall(module, m.Call()) if isinstance(c, cst.Call)]


def argument(call: cst.Call, position: int | None, keyword: str) -> str | None:
    """The source of an argument, whether it is passed by position or by keyword; None if it is not passed."""
    for index, arg in enumerate(call.args):
        if (arg.keyword is None and index == position) or (arg.keyword is not None and arg.keyword.value == keyword):
            return code_of(arg.value)
    return None


def with_argument(call: cst.Call, keyword: str, value: str, position: int | None = None) -> cst.Call:
    """The call with one argument set: replaced where it is passed, else appended as a keyword."""
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


def without_argument(call: cst.Call, keyword: str) -> cst.Call:
    args = [a for a in call.args if a.keyword is None or a.keyword.value != keyword]
    if args:
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return call.with_changes(args=args)


def replace_node(module: cst.Module, old: cst.CSTNode, new: cst.CSTNode | str) -> cst.Module:
    """The module with the node `old`, found by identity, replaced by a node or by the source of an expression."""
    replacement = cst.parse_expression(new) if isinstance(new, str) else new
    changed = module.deep_replace(old, replacement)
    assert isinstance(changed, cst.Module)
    return changed


def parse_number(text: str | None) -> float | None:
    """The value of source text that is a plain number; None for anything else."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def numeric_defaults(module: cst.CSTNode, names: Collection[str]) -> list[cst.Param]:
    """The parameters of these names whose default is a plain number."""
    parameters = [p for p in m.findall(module, m.Param()) if isinstance(p, cst.Param) and p.name.value in names]
    return [p for p in parameters if p.default is not None and parse_number(code_of(p.default)) is not None]


def default_value(parameter: cst.Param) -> float:
    """The default of a parameter that `numeric_defaults` returned."""
    assert parameter.default is not None
    return parse_number(code_of(parameter.default)) or 0.0


def with_default(module: cst.Module, parameter: cst.Param, value: int) -> Result:
    """Change the default of a parameter; None if it is the value already."""
    if value == default_value(parameter):
        return None
    new = parameter.with_changes(default=cst.Integer(str(value)))
    return replace_node(module, parameter, new), f"set the default of `{parameter.name.value}` to {value}"


def forward_method(module: cst.Module) -> cst.FunctionDef | None:
    for node in m.findall(module, m.FunctionDef(name=m.Name("forward"))):
        if isinstance(node, cst.FunctionDef):
            return node
    return None


def number_literal(value: float) -> str:
    """A number in three significant digits; whole numbers in full."""
    if value == int(value) and abs(value) >= 1:
        return str(int(value))
    return f"{value:.3g}"
