"""Rewrites of modules: each keeps the sizes of a block's input and output."""

from __future__ import annotations

import random

import libcst as cst
import libcst.matchers as m

from agent.genome.rewrites.tools import (
    Rewrite,
    argument,
    calls,
    code,
    defaults,
    every_call,
    in_forward,
    name_of,
    number,
    swap,
    tidy,
    with_keyword,
    without_keyword,
)

Result = tuple[cst.Module, str] | None

PARAMETERS, UNCOMMON_PARAMETERS, COMPLEX = "parameters", "uncommon parameters", "complex"
REDUCE, UNCOMMON, SIGNIFICANT = "reduce size", "uncommon", "significant"

_MODULES = ("ReLU", "SiLU", "GELU", "Hardswish", "Mish", "LeakyReLU", "ELU")
_FUNCTIONS = ("relu", "silu", "gelu", "hardswish", "mish", "leaky_relu", "elu")


def activation_module(module: cst.Module, rng: random.Random) -> Result:
    return _other_name(module, rng, _MODULES, "activation")


def activation_function(module: cst.Module, rng: random.Random) -> Result:
    return _other_name(module, rng, _FUNCTIONS, "activation")


def gate_function(module: cst.Module, rng: random.Random) -> Result:
    found = calls(module, ("sigmoid",))
    if not found:
        return None
    call = rng.choice(found)
    inner = code(call.args[0].value)
    new = rng.choice([f"F.hardsigmoid({inner})", f"(0.5 + 0.5 * torch.tanh({inner}))", f"torch.sigmoid(2.0 * {inner})"])
    return swap(module, call, new), f"replace the gate `{code(call)}` by `{new}`"


def dropout_rate(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls(module, ("Dropout", "Dropout2d")) if number(argument(c, 0, "p")) is not None]
    if not found:
        return None
    call = rng.choice(found)
    rate = rng.choice([r for r in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4) if r != number(argument(call, 0, "p"))])
    return swap(module, call, with_keyword(call, "p", tidy(rate), 0)), f"set the dropout rate to {tidy(rate)}"


def add_dropout(module: cst.Module, rng: random.Random) -> Result:
    site = _activation_in_forward(module, rng)
    if site is None:
        return None
    rate = rng.choice((0.03, 0.05, 0.1))
    return swap(module, site, f"F.dropout({code(site)}, {rate}, self.training)"), f"drop {rate:.0%} after an activation"


def self_gate(module: cst.Module, rng: random.Random) -> Result:
    """A gate without parameters: each channel is scaled by how active it is."""
    site = _activation_in_forward(module, rng)
    if site is None:
        return None
    inner = code(site)
    gated = f"(lambda a: a * torch.sigmoid(a.mean((-2, -1), keepdim=True)))({inner})"
    return swap(module, site, gated), "scale each channel by the sigmoid of its own mean after an activation"


def mixed_activation(module: cst.Module, rng: random.Random) -> Result:
    found = calls(module, _FUNCTIONS)
    if not found:
        return None
    call = rng.choice(found)
    inner, name = code(call.args[0].value), name_of(call)
    other = rng.choice([f for f in ("silu", "gelu", "mish", "relu") if f != name])
    return swap(module, call, f"(0.5 * F.{name}({inner}) + 0.5 * F.{other}({inner}))"), f"average {name} with {other}"


def kernel_default(module: cst.Module, rng: random.Random) -> Result:
    found = defaults(module, ("kernel_size", "kernel"))
    if not found:
        return None
    return _new_default(module, rng.choice(found), rng.choice((3, 5, 7)))


def smaller_kernel_default(module: cst.Module, rng: random.Random) -> Result:
    found = [p for p in defaults(module, ("kernel_size", "kernel")) if _value(p) > 1]
    return _new_default(module, rng.choice(found), 3 if _value(found[0]) > 3 else 1) if found else None


def kernel_literal(module: cst.Module, rng: random.Random) -> Result:
    """Odd kernels with their fitting padding written out beside them."""
    found = []
    for call in calls(module, ("Conv2d",)):
        size, padding, stride = (number(argument(call, i, k)) for i, k in ((2, "kernel_size"), (4, "padding"), (3, "stride")))
        if size and padding is not None and size % 2 and padding == size // 2 and stride in (None, 1, 2):
            found.append(call)
    if not found:
        return None
    call = rng.choice(found)
    size = rng.choice([k for k in (1, 3, 5) if k != number(argument(call, 2, "kernel_size"))])
    new = with_keyword(with_keyword(call, "kernel_size", str(size), 2), "padding", str(size // 2), 4)
    return swap(module, call, new), f"use a {size} x {size} kernel"


def grouped_pointwise(module: cst.Module, rng: random.Random) -> Result:
    found = _pointwise(module)
    if not found:
        return None
    call, groups = rng.choice(found), rng.choice((2, 3, 4))
    a, b = argument(call, 0, "in_channels"), argument(call, 1, "out_channels")
    shared = f"math.gcd({a}, {groups})" if a == b else f"math.gcd({a}, {b}, {groups})"
    return swap(module, call, with_keyword(call, "groups", shared)), f"split a 1x1 convolution into up to {groups} groups"


def low_rank_pointwise(module: cst.Module, rng: random.Random) -> Result:
    found = _pointwise(module)
    if not found:
        return None
    call, ratio = rng.choice(found), rng.choice((3, 4, 6, 8))
    a, b = argument(call, 0, "in_channels"), argument(call, 1, "out_channels")
    inner = f"max(4, min({a}, {b}) // {ratio})"
    bias = argument(call, 7, "bias") or "True"
    new = f"nn.Sequential(nn.Conv2d({a}, {inner}, 1, bias=False), nn.Conv2d({inner}, {b}, 1, bias={bias}))"
    return swap(module, call, new), f"factorise a 1x1 convolution through {ratio} times fewer channels"


def separable(module: cst.Module, rng: random.Random) -> Result:
    """A dense k x k convolution as depthwise k x k, then pointwise."""
    found = []
    for call in calls(module, ("Conv2d",)):
        spatial = number(argument(call, 2, "kernel_size")) != 1
        if spatial and argument(call, 6, "groups") is None and argument(call, 1, "out_channels"):
            found.append(call)
    if not found:
        return None
    call = rng.choice(found)
    a, b, size = (argument(call, i, k) for i, k in enumerate(("in_channels", "out_channels", "kernel_size")))
    extras = "".join(f", {k}={v}" for i, k in ((3, "stride"), (4, "padding")) if (v := argument(call, i, k)))
    bias = argument(call, 7, "bias") or "True"
    new = f"nn.Sequential(nn.Conv2d({a}, {a}, {size}{extras}, groups={a}, bias=False), nn.Conv2d({a}, {b}, 1, bias={bias}))"
    return swap(module, call, new), "factorise a dense convolution into depthwise and pointwise"


def asymmetric_depthwise(module: cst.Module, rng: random.Random) -> Result:
    """k x k depthwise as k x 1, then 1 x k."""
    found = []
    for call in calls(module, ("Conv2d",)):
        if argument(call, 6, "groups") == argument(call, 0, "in_channels") == argument(call, 1, "out_channels") and (
            argument(call, 4, "padding") and argument(call, 3, "stride") is None and argument(call, 2, "kernel_size") != "1"
        ):
            found.append(call)
    if not found:
        return None
    call = rng.choice(found)
    c, size, pad = argument(call, 0, "in_channels"), argument(call, 2, "kernel_size"), argument(call, 4, "padding")
    new = (
        f"nn.Sequential(nn.Conv2d({c}, {c}, ({size}, 1), padding=({pad}, 0), groups={c}, bias=False), "
        f"nn.Conv2d({c}, {c}, (1, {size}), padding=(0, {pad}), groups={c}))"
    )
    return swap(module, call, new), "factorise a depthwise kernel into a column and a row"


def bias_off(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls(module, ("Conv2d", "Linear")) if argument(c, None, "bias") in (None, "True") and len(c.args) < 6]
    if not found:
        return None
    call = rng.choice(found)
    return swap(module, call, with_keyword(call, "bias", "False")), f"drop the bias of a {name_of(call)}"


def bias_on(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls(module, ("Conv2d", "Linear")) if argument(c, None, "bias") == "False"]
    if not found:
        return None
    call = rng.choice(found)
    return swap(module, call, without_keyword(call, "bias")), f"give a {name_of(call)} a bias"


def plain_norm(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls(module, ("LayerNorm",)) if argument(c, None, "elementwise_affine") is None]
    if not found:
        return None
    call = rng.choice(found)
    return swap(module, call, with_keyword(call, "elementwise_affine", "False")), "normalise without learned scale and shift"


def group_norm(module: cst.Module, rng: random.Random) -> Result:
    found = calls(module, ("BatchNorm2d",))
    if not found:
        return None
    call, groups = rng.choice(found), rng.choice((2, 4, 6))
    channels = argument(call, 0, "num_features")
    return swap(module, call, f"nn.GroupNorm(math.gcd({channels}, {groups}), {channels})"), "normalise groups of channels"


def norm_momentum(module: cst.Module, rng: random.Random) -> Result:
    found = calls(module, ("BatchNorm2d",))
    if not found:
        return None
    call, value = rng.choice(found), rng.choice(("0.05", "0.2", "0.3", "0.5"))
    return swap(module, call, with_keyword(call, "momentum", value)), f"let a batch norm's statistics move by {value}"


def pooling(module: cst.Module, rng: random.Random) -> Result:
    return _other_name(module, rng, ("max_pool2d", "avg_pool2d"), "pooling") or _other_name(
        module, rng, ("MaxPool2d", "AvgPool2d"), "pooling"
    )


def global_pooling(module: cst.Module, rng: random.Random) -> Result:
    means = (c for c in calls(module, ("mean",)) if isinstance(c.func, cst.Attribute) and c.args)
    found = [c for c in means if code(c.args[0].value) == "(2, 3)"]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, cst.Attribute)
    x = code(call.func.value)
    if "(" in x:  # evaluated twice below: only plain names
        return swap(module, call, f"{x}.amax((2, 3))"), "pool by the maximum instead of the mean"
    share = rng.choice((0.3, 0.5, 0.7))
    new = rng.choice((f"{x}.amax((2, 3))", f"({share} * {x}.mean((2, 3)) + {tidy(1 - share)} * {x}.amax((2, 3)))"))
    return swap(module, call, new), f"pool globally by `{new}`"


def residual_scale(module: cst.Module, rng: random.Random) -> Result:
    found = _residuals(module)
    if not found:
        return None
    add, scale = rng.choice(found), rng.choice((0.5, 0.7, 1.2, 1.5))
    new = f"{code(add.left)} + {scale} * {code(add.right)}"
    return swap(module, add, new), f"weigh a residual connection by {scale}"


def residual_drop(module: cst.Module, rng: random.Random) -> Result:
    found = _residuals(module)
    if not found:
        return None
    add = rng.choice(found)
    return swap(module, add, code(add.left)), "remove a residual connection"


def gate_ratio(module: cst.Module, rng: random.Random) -> Result:
    found = defaults(module, ("ratio", "reduction"))
    if not found:
        return None
    parameter = rng.choice(found)
    return _new_default(module, parameter, rng.choice([v for v in (2, 4, 6, 8, 12) if v != _value(parameter)]))


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
    return swap(module, holder, new), f"remove the layer `{code(arg.value)}`"


def one_layer_more(module: cst.Module, rng: random.Random) -> Result:
    found = _repeatable(module)
    if not found:
        return None
    holder, arg = rng.choice(found)
    args = [a for b in holder.args for a in ((b, b) if b is arg else (b,))]
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    bare = [i for i, a in enumerate(args[:-1]) if isinstance(a.comma, cst.MaybeSentinel)]
    args = [a.with_changes(comma=comma) if i in bare else a for i, a in enumerate(args)]
    return swap(module, holder, holder.with_changes(args=args)), f"repeat the layer `{code(arg.value)}`"


def narrow_last_stage(module: cst.Module, rng: random.Random) -> Result:
    """Only the widest width: where most parameters are."""
    widths = _widths(module)
    if len(set(widths)) < 2:
        return None
    widest = max(widths)
    return _renumbered(module, {widest: max(8, int(widest * rng.choice((0.5, 0.67, 0.75))) // 4 * 4)}, "the widest layers")


def shared_layer(module: cst.Module, rng: random.Random) -> Result:
    """Two attributes built alike share one layer, and so its weights."""
    assigns = [a for a in m.findall(module, m.Assign()) if isinstance(a, cst.Assign) and isinstance(a.value, cst.Call)]
    pairs = [
        (a, b) for i, a in enumerate(assigns) for b in assigns[i + 1 :]
        if code(a.value) == code(b.value)
        and code(a.targets[0].target).startswith("self.")
        and name_of(_call(a)) in ("Conv2d", "Linear")
    ]  # fmt: skip
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    source, target = code(first.targets[0].target), code(second.targets[0].target)
    return swap(module, second.value, source), f"let `{target}` share the weights of `{source}`"


def smaller_input(module: cst.Module, rng: random.Random) -> Result:
    """For networks that enlarge small images first."""
    found = [c for c in calls(module, ("interpolate",)) if argument(c, 1, "size")]
    if not found:
        return None
    call, side = found[0], rng.choice((16, 20, 24, 28, 40))
    return swap(module, call, with_keyword(call, "size", f"({side}, {side})", 1)), f"enlarge small images to {side} pixels"


def _other_name(module: cst.Module, rng: random.Random, names: tuple[str, ...], what: str) -> Result:
    found = calls(module, names)
    if not found:
        return None
    call = rng.choice(found)
    old = name_of(call)
    new = rng.choice([n for n in names if n != old])
    func = cst.parse_expression(code(call.func)[: -len(old)] + new)
    kept = call.args if what == "pooling" else [a for a in call.args if a.keyword is None][: 0 if old[0].isupper() else 1]
    args = [a.with_changes(comma=cst.MaybeSentinel.DEFAULT) if i == len(kept) - 1 else a for i, a in enumerate(kept)]
    return swap(module, call, call.with_changes(func=func, args=args)), f"replace the {what} {old} by {new}"


def _activation_in_forward(module: cst.Module, rng: random.Random) -> cst.Call | None:
    forward = in_forward(module)
    found = calls(forward, _FUNCTIONS) if forward else []
    return rng.choice(found) if found else None


def _pointwise(module: cst.Module) -> list[cst.Call]:
    return [
        c for c in calls(module, ("Conv2d",))
        if argument(c, 2, "kernel_size") == "1"
        and argument(c, None, "groups") is None
        and argument(c, 3, "stride") in (None, "1")
    ]  # fmt: skip


def _residuals(module: cst.Module) -> list[cst.BinaryOperation]:
    """`... + x` in forward, where the right side is a plain name."""
    forward = in_forward(module)
    pattern = m.BinaryOperation(operator=m.Add(), right=m.Name())
    return [n for n in m.findall(forward, pattern) if isinstance(n, cst.BinaryOperation)] if forward else []


def _repeatable(module: cst.Module) -> list[tuple[cst.Call, cst.Arg]]:
    """Elements of a Sequential that are built from one number, as in `DFSEB(48)`: such layers keep channels and size."""
    found = []
    for holder in calls(module, ("Sequential",)):
        for arg in holder.args:
            inner = arg.value
            if not isinstance(inner, cst.Call) or len(inner.args) != 1 or code(inner.func).startswith(("nn.", "torch.")):
                continue
            if number(code(inner.args[0].value)) is not None:
                found.append((holder, arg))
    return found


def _widths(module: cst.Module) -> list[int]:
    """Whole numbers of at least 8 among the arguments of layers: channels, not kernels."""
    found = []
    for call in every_call(module):
        if name_of(call) not in ("interpolate", "Dropout", "max_pool2d", "avg_pool2d"):
            found += [int(code(a.value)) for a in call.args if m.matches(a.value, m.Integer()) and int(code(a.value)) >= 8]
    return found


def _scaled_widths(module: cst.Module, factor: float) -> Result:
    if parameters := [p for p in defaults(module, ("width", "channels", "hidden", "dim")) if _value(p) >= 8]:
        return _new_default(module, parameters[0], max(4, round(_value(parameters[0]) * factor / 2) * 2))
    new = {w: max(4, round(w * factor / 4) * 4) for w in _widths(module)}
    return _renumbered(module, new, f"all widths by {factor}") if new else None


def _renumbered(module: cst.Module, new: dict[int, int], what: str) -> Result:
    class Renumber(cst.CSTTransformer):
        def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
            if name_of(original_node) in ("interpolate", "Dropout", "max_pool2d", "avg_pool2d"):
                return updated_node
            args = []
            for arg in updated_node.args:
                if isinstance(arg.value, cst.Integer) and int(arg.value.value) in new:
                    arg = arg.with_changes(value=cst.Integer(str(new[int(arg.value.value)])))
                args.append(arg)
            return updated_node.with_changes(args=args)

    changed = module.visit(Renumber())
    told = ", ".join(f"{a} -> {b}" for a, b in new.items() if a != b)
    return (changed, f"scale {what} ({told})") if changed.code != module.code else None


def _new_default(module: cst.Module, parameter: cst.Param, value: int) -> Result:
    if value == _value(parameter):
        return None
    new = parameter.with_changes(default=cst.Integer(str(value)))
    return swap(module, parameter, new), f"set the default of `{parameter.name.value}` to {value}"


def _value(parameter: cst.Param) -> float:
    assert parameter.default is not None
    return number(code(parameter.default)) or 0.0


def _call(assign: cst.Assign) -> cst.Call:
    assert isinstance(assign.value, cst.Call)
    return assign.value


LAYERS = tuple(
    Rewrite(function.__name__, frozenset(directives), function)
    for function, directives in (
        (activation_module, (UNCOMMON, COMPLEX, PARAMETERS)),
        (activation_function, (UNCOMMON, COMPLEX, PARAMETERS)),
        (gate_function, (UNCOMMON, UNCOMMON_PARAMETERS)),
        (dropout_rate, (PARAMETERS, UNCOMMON_PARAMETERS)),
        (add_dropout, (COMPLEX, UNCOMMON)),
        (self_gate, (COMPLEX, UNCOMMON, SIGNIFICANT)),
        (mixed_activation, (COMPLEX, UNCOMMON)),
        (kernel_default, (PARAMETERS, UNCOMMON_PARAMETERS, SIGNIFICANT)),
        (smaller_kernel_default, (REDUCE,)),
        (kernel_literal, (PARAMETERS, UNCOMMON_PARAMETERS)),
        (grouped_pointwise, (REDUCE, SIGNIFICANT, COMPLEX)),
        (low_rank_pointwise, (REDUCE, SIGNIFICANT, COMPLEX)),
        (separable, (REDUCE, SIGNIFICANT)),
        (asymmetric_depthwise, (REDUCE, UNCOMMON, SIGNIFICANT)),
        (bias_off, (REDUCE, PARAMETERS)),
        (bias_on, (PARAMETERS, UNCOMMON_PARAMETERS)),
        (plain_norm, (REDUCE, UNCOMMON)),
        (group_norm, (UNCOMMON, SIGNIFICANT)),
        (norm_momentum, (PARAMETERS, UNCOMMON_PARAMETERS)),
        (pooling, (COMPLEX, UNCOMMON, SIGNIFICANT)),
        (global_pooling, (COMPLEX, UNCOMMON, SIGNIFICANT)),
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
)
