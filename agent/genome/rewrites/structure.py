"""Rewrites of how layers make up a network: residual connections, widths, depth, shared weights, the input's size."""

from __future__ import annotations

import random

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
    all_calls,
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

_NOT_LAYERS = ("interpolate", "Dropout", "max_pool2d", "avg_pool2d")
"""Calls whose whole numbers are not widths."""


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
    return with_default(module, parameter, rng.choice([v for v in (2, 4, 6, 8, 12) if v != default_value(parameter)]))


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
    widths = _widths(module)
    if len(set(widths)) < 2:
        return None
    widest = max(widths)
    return _renumbered(module, {widest: max(8, int(widest * rng.choice((0.5, 0.67, 0.75))) // 4 * 4)}, "the widest layers")


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
    found = [c for c in calls_of(module, ("interpolate",)) if argument(c, 1, "size")]
    if not found:
        return None
    call, side = found[0], rng.choice((16, 20, 24, 28, 40))
    new = with_argument(call, "size", f"({side}, {side})", 1)
    return replace_node(module, call, new), f"enlarge small images to {side} pixels"


def _residuals(module: cst.Module) -> list[cst.BinaryOperation]:
    """The additions `... + x` in `forward` whose right side is a plain name."""
    forward = forward_method(module)
    pattern = m.BinaryOperation(operator=m.Add(), right=m.Name())
    return [n for n in m.findall(forward, pattern) if isinstance(n, cst.BinaryOperation)] if forward else []


def _repeatable(module: cst.Module) -> list[tuple[cst.Call, cst.Arg]]:
    """(Sequential, element) for each element built from one number, such as `DFSEB(48)`: it keeps the channels and the size."""
    found = []
    for holder in calls_of(module, ("Sequential",)):
        for arg in holder.args:
            inner = arg.value
            if not isinstance(inner, cst.Call) or len(inner.args) != 1 or code_of(inner.func).startswith(("nn.", "torch.")):
                continue
            if parse_number(code_of(inner.args[0].value)) is not None:
                found.append((holder, arg))
    return found


def _widths(module: cst.Module) -> list[int]:
    """The whole numbers of at least 8 among the arguments of layers: numbers of channels rather than kernel sizes.

    Where layers say what comes in and what goes out, only the numbers between them: the first one takes what the data gives, the
    last one gives what the task asks for.
    """
    found: list[int] = []
    taken, given = set[int](), set[int]()
    for call in all_calls(module):
        if called_name(call) not in _NOT_LAYERS:
            numbers = [int(code_of(a.value)) if m.matches(a.value, m.Integer()) else 0 for a in call.args]
            found += [number for number in numbers if number >= 8]
            taken |= {*numbers[:1]}
            given |= {*numbers[1:2]}
    return [number for number in found if number in taken and number in given] if given - {0} else found


def _scaled_widths(module: cst.Module, factor: float) -> Result:
    if parameters := [p for p in numeric_defaults(module, ("width", "channels", "hidden", "dim")) if default_value(p) >= 8]:
        return with_default(module, parameters[0], max(4, round(default_value(parameters[0]) * factor / 2) * 2))
    new = {w: max(4, round(w * factor / 4) * 4) for w in _widths(module)}
    return _renumbered(module, new, f"all widths by {factor}") if new else None


def _renumbered(module: cst.Module, new: dict[int, int], what: str) -> Result:
    """Replace whole numbers among the arguments of layers. `new`: the new number by the old one."""

    class Renumber(cst.CSTTransformer):
        def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
            if called_name(original_node) in _NOT_LAYERS:
                return updated_node
            args = []
            for arg in updated_node.args:
                if isinstance(arg.value, cst.Integer) and int(arg.value.value) in new:
                    arg = arg.with_changes(value=cst.Integer(str(new[int(arg.value.value)])))
                args.append(arg)
            return updated_node.with_changes(args=args)

    changed = module.visit(Renumber())
    scaled = ", ".join(f"{a} -> {b}" for a, b in new.items() if a != b)
    return (changed, f"scale {what} ({scaled})") if changed.code != module.code else None


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
