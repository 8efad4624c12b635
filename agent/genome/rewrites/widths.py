"""Finds the widths of a network that can change inside one block without a change anywhere else.

A number is free if some layer of the block gives it and another one takes it. What only enters or only leaves the block is
the size of the data, the number of classes, or one side of a pair whose other side stands elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst
import libcst.matchers as m

from agent.genome.rewrites.tools import all_calls, argument, called_name

_SMALLEST = 8
_PAIRS = re.compile(r"(?:Lazy)?(?:Conv(?:Transpose)?[123]d|Linear|LSTM|GRU|RNN|LSTMCell|GRUCell|RNNCell)")
_NORMS = re.compile(r"(?:Sync)?(?:Batch|Instance)Norm(?:[123]d)?|LayerNorm|RMSNorm|PReLU")
_DIVIDED = re.compile(r"group|head|bidirectional|proj_size", re.IGNORECASE)
"""Settings that a width has to be divisible by, or that make another width of it."""
_NO_LAYER = re.compile(
    r"Drop|Pool|Flatten|Upsample|Shuffle|Embed|Attention|Transformer|Head|GroupNorm|Softmax|Unfold", re.IGNORECASE
)
_KEYWORDS = {"in_channels": "in", "in_features": "in", "input_size": "in", "out_channels": "out", "out_features": "out",
             "hidden_size": "out", "num_features": "both", "normalized_shape": "both", "embedding_dim": "out"}  # fmt: skip


def free_widths(module: cst.Module) -> dict[int, list[cst.Integer]]:
    """The places of each width that can change, if all of its places change.

    Empty where parts are joined or split: a width may then be the sum of two.
    """
    if any(called_name(call) in ("cat", "concat", "chunk", "split", "unbind") for call in all_calls(module)):
        return {}
    places: dict[int, list[cst.Integer]] = {}
    sides: dict[int, set[str]] = {}
    order: list[tuple[str, int | None]] = []
    bound = set()
    for call in all_calls(module):
        for side, node in _widths_of(call, module):
            width = int(node.value) if isinstance(node, cst.Integer) and node.value.isdecimal() else None
            order.append((side, width))
            if width is None or not isinstance(node, cst.Integer):
                continue
            places.setdefault(width, []).append(node)
            sides.setdefault(width, set()).update(("in", "out") if side == "both" else (side,))
            bound |= {width} if _is_divided(call) else set()
    entering = next((width for side, width in order if side in ("in", "both")), None)
    leaving = next((width for side, width in reversed(order) if side in ("out", "both")), None)
    flat = [width for width, found in sides.items() if found == {"in"} and width != entering]
    known = {id(node) for nodes in places.values() for node in nodes}
    others = {int(n.value, 0) for n in m.findall(module, m.Integer()) if isinstance(n, cst.Integer) and id(n) not in known}
    return {
        width: nodes
        for width, nodes in places.items()
        if width >= _SMALLEST
        and sides[width] == {"in", "out"}
        and width not in bound | others | {entering, leaving}
        and not any(size % width == 0 for size in flat)  # a flattened size is a multiple of the channels
    }


def scaled(width: int, factor: float) -> int:
    """The width times the factor, with the powers of two up to 8 that divide it: groups and heads still fit."""
    step = next(step for step in (8, 4, 2, 1) if width % step == 0)
    return max(step, round(width * factor / step) * step)


def layer_numbers(module: cst.CSTNode) -> list[tuple[str, ...]]:
    """The widths of each layer in order, to see whether two versions agree about them."""
    calls = (c for c in all_calls(module) if _PAIRS.fullmatch(called_name(c)) or _NORMS.fullmatch(called_name(c)))
    return [tuple(cst.Module([]).code_for_node(a.value) for a in call.args[:2]) for call in calls]


def _widths_of(call: cst.Call, module: cst.Module) -> Iterator[tuple[str, cst.BaseExpression]]:
    """Yield the side and the code of each width that the call of a layer names."""
    name = called_name(call)
    if _NO_LAYER.search(name):
        return
    positions: tuple[str, ...] = ()
    if _PAIRS.fullmatch(name):
        positions = ("in", "out")
    elif _NORMS.fullmatch(name):
        positions = ("both",)
    elif name[:1].isupper() and _is_part(call, module):
        positions = ("in", "out") if len(call.args) > 1 else ("both",)
    for place, arg in enumerate(call.args):
        key = arg.keyword.value if arg.keyword else ""
        side = _KEYWORDS.get(key, "") if key else (positions[place] if place < len(positions) else "")
        if positions and side:
            yield side, arg.value


def _is_part(call: cst.Call, module: cst.Module) -> bool:
    """Whether a call of an own class makes a part of a network: an element of a Sequential, or an attribute."""
    holders = (c for c in all_calls(module) if called_name(c) in ("Sequential", "ModuleList"))
    attribute = m.Assign(targets=[m.AssignTarget(m.Attribute(value=m.Name("self")))])
    return any(arg.value is call for holder in holders for arg in holder.args) or any(
        isinstance(node, cst.Assign) and node.value is call for node in m.findall(module, attribute)
    )


def _is_divided(call: cst.Call) -> bool:
    named = any(arg.keyword and _DIVIDED.search(arg.keyword.value) for arg in call.args)
    return named or argument(call, 6, "groups") is not None
