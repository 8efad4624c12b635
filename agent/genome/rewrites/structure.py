"""Rewrites of how layers make up a network: residual connections, widths, depth, shared weights, the input's size."""

from __future__ import annotations

import random
import re

import libcst as cst
import libcst.matchers as m

from agent.genome.rewrites.tools import (
    COMPLEX,
    PARAMETERS,
    REDUCE,
    SIGNIFICANT,
    UNCOMMON,
    UNCOMMON_PARAMETERS,
    Result,
    argument,
    called_name,
    calls_of,
    code_of,
    default_value,
    forward_method,
    make_rewrites,
    numeric_defaults,
    parse_number,
    replace_node,
    with_argument,
    with_default,
)
from agent.genome.rewrites.widths import free_widths, scaled

_CHANGES_SIZE = re.compile("Pool|Flatten|Upsample|Shuffle|Down|Up|Linear|Conv|Embed|Pad|Dropout|Reshape|View", re.IGNORECASE)
_DIVIDED = re.compile(r"n_?head|num_head|heads\b|groups\s*=\s*\d|GroupNorm", re.IGNORECASE)
"""Code in which a width has to be divisible by another number."""
_NO_TENSOR = re.compile(r"shape|size|len|list|idx|index|offset|step|start|end", re.IGNORECASE)
"""Names whose sums are places or sizes."""


def residual_scale(module: cst.Module, rng: random.Random) -> Result:
    found = _residuals(module)
    if not found:
        return None
    add, scale = rng.choice(found), rng.choice((0.5, 0.7, 1.2, 1.5))
    new = f"{code_of(add.left)} + {scale} * {code_of(add.right)}"
    return replace_node(module, add, new), f"weigh a residual connection by {scale}"


def residual_drop(module: cst.Module, rng: random.Random) -> Result:
    found = _residuals(module)
    if not found:
        return None
    add = rng.choice(found)
    return replace_node(module, add, code_of(add.left)), "remove a residual connection"


def gate_ratio(module: cst.Module, rng: random.Random) -> Result:
    found = numeric_defaults(module, ("ratio", "reduction"))
    if not found:
        return None
    parameter = rng.choice(found)
    smaller = [v for v in (2, 4, 6, 8, 12) if v < default_value(parameter)]  # a larger one may leave no channel
    return with_default(module, parameter, rng.choice(smaller)) if smaller else None


def narrower(module: cst.Module, rng: random.Random) -> Result:
    return _scaled_widths(module, rng.choice((0.5, 0.67, 0.75)))


def wider(module: cst.Module, rng: random.Random) -> Result:
    return _scaled_widths(module, rng.choice((1.17, 1.25)))


def one_layer_less(module: cst.Module, rng: random.Random) -> Result:
    found = _repeatable(module)
    if not found:
        return None
    holder, arg = rng.choice(found)
    new = holder.with_changes(args=[a for a in holder.args if a is not arg])
    return replace_node(module, holder, new), f"remove the layer `{code_of(arg.value)}`"


def one_layer_more(module: cst.Module, rng: random.Random) -> Result:
    found = _repeatable(module)
    if not found:
        return None
    holder, arg = rng.choice(found)
    args = [a for b in holder.args for a in ((b, b) if b is arg else (b,))]
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    bare = [i for i, a in enumerate(args[:-1]) if isinstance(a.comma, cst.MaybeSentinel)]
    args = [a.with_changes(comma=comma) if i in bare else a for i, a in enumerate(args)]
    return replace_node(module, holder, holder.with_changes(args=args)), f"repeat the layer `{code_of(arg.value)}`"


def narrow_last_stage(module: cst.Module, rng: random.Random) -> Result:
    """Change only the largest width: most parameters are there."""
    widths = free_widths(module)
    if len(widths) < 2 or _DIVIDED.search(module.code):
        return None
    widest = max(widths)
    return _renumbered(module, {widest: scaled(widest, rng.choice((0.5, 0.67, 0.75)))}, "the widest layers")


def shared_layer(module: cst.Module, rng: random.Random) -> Result:
    """Let two attributes that are built by the same call share one layer, and so its weights."""
    assigns = [a for a in m.findall(module, m.Assign(value=m.Call())) if isinstance(a, cst.Assign)]
    pairs = [
        (a, b) for i, a in enumerate(assigns) for b in assigns[i + 1 :]
        if code_of(a.value) == code_of(b.value)
        and code_of(a.targets[0].target).startswith("self.")
        and isinstance(a.value, cst.Call)
        and called_name(a.value) in ("Conv2d", "Linear")
    ]  # fmt: skip
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    source, target = code_of(first.targets[0].target), code_of(second.targets[0].target)
    return replace_node(module, second.value, source), f"let `{target}` share the weights of `{source}`"


def smaller_input(module: cst.Module, rng: random.Random) -> Result:
    """Change the size to which a network enlarges small images before its first layer."""
    found = [c for c in calls_of(module, ("interpolate",)) if re.fullmatch(r"\(?[\d, ]+\)?", argument(c, 1, "size") or "")]
    if len(found) != 1 or not re.search(r"Adaptive|adaptive|\.mean\(|\.amax\(", module.code):
        return None  # another size fits only where the network pools over all places
    call, side = found[0], rng.choice((16, 20, 24, 28, 40))
    new = with_argument(call, "size", f"({side}, {side})", 1)
    return replace_node(module, call, new), f"enlarge small images to {side} pixels"


def _residuals(module: cst.Module) -> list[cst.BinaryOperation]:
    """The additions `... + x` in `forward` whose right side is a plain name."""
    forward = forward_method(module)
    if forward is None:
        return []
    pattern = m.BinaryOperation(operator=m.Add(), right=m.Name())
    sums = [n for n in m.findall(forward, pattern) if isinstance(n, cst.BinaryOperation)]
    calls = calls_of(forward, ("range", "arange", "view", "reshape", "cat", "size", "expand"))
    places = [*m.findall(forward, m.Subscript()), *calls]
    inside = {id(n) for place in places for n in m.findall(place, pattern)}
    return [n for n in sums if id(n) not in inside and not _NO_TENSOR.search(code_of(n.right))]


def _repeatable(module: cst.Module) -> list[tuple[cst.Call, cst.Arg]]:
    """(Sequential, element) for each element built from one number, such as `DFSEB(48)`: it keeps the channels and the size."""
    found = []
    for holder in calls_of(module, ("Sequential",)):
        for arg in holder.args:
            inner = arg.value
            if not isinstance(inner, cst.Call) or len(inner.args) != 1 or code_of(inner.func).startswith(("nn.", "torch.")):
                continue
            if (parse_number(code_of(inner.args[0].value)) or 0) >= 8 and not _CHANGES_SIZE.search(called_name(inner)):
                found.append((holder, arg))
    return found


def _scaled_widths(module: cst.Module, factor: float) -> Result:
    if _DIVIDED.search(module.code):  # these divide the widths
        return None
    parameters = [p for p in numeric_defaults(module, ("width", "channels", "hidden", "dim")) if default_value(p) >= 8]
    if parameters:
        old = int(default_value(parameters[0]))
        elsewhere = len(re.findall(rf"\b{old}\b", module.code)) > 1  # the same width, written out
        return None if elsewhere else with_default(module, parameters[0], scaled(old, factor))
    new = {width: scaled(width, factor) for width in free_widths(module)}
    return _renumbered(module, new, f"all widths by {factor}") if new else None


def _renumbered(module: cst.Module, new: dict[int, int], what: str) -> Result:
    """Replace widths that are free to change. `new`: the new number by the old one."""
    places = {id(node): new[width] for width, nodes in free_widths(module).items() if width in new for node in nodes}

    class Renumber(cst.CSTTransformer):
        def leave_Integer(self, original_node: cst.Integer, updated_node: cst.Integer) -> cst.Integer:
            number = places.get(id(original_node))
            return updated_node if number is None else updated_node.with_changes(value=str(number))

    changed = module.visit(Renumber())
    scales = ", ".join(f"{a} -> {b}" for a, b in new.items() if a != b)
    return (changed, f"scale {what} ({scales})") if changed.code != module.code else None


STRUCTURE = make_rewrites(
    (residual_scale, (PARAMETERS, UNCOMMON_PARAMETERS, COMPLEX)),
    (residual_drop, (UNCOMMON, SIGNIFICANT)),
    (gate_ratio, (PARAMETERS, UNCOMMON_PARAMETERS, REDUCE)),
    (narrower, (REDUCE, PARAMETERS, UNCOMMON_PARAMETERS, SIGNIFICANT)),
    (wider, (PARAMETERS, COMPLEX)),
    (one_layer_less, (REDUCE, SIGNIFICANT)),
    (one_layer_more, (COMPLEX, SIGNIFICANT)),
    (narrow_last_stage, (REDUCE, PARAMETERS, SIGNIFICANT)),
    (shared_layer, (REDUCE, UNCOMMON, SIGNIFICANT)),
    (smaller_input, (PARAMETERS, UNCOMMON_PARAMETERS)),
)
