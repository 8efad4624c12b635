"""Rewrites of single layers and functions: each keeps the sizes of a block's input and output."""

from __future__ import annotations

import random
import re

import libcst as cst

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
    is_wrapped,
    make_rewrites,
    number_literal,
    numeric_defaults,
    parse_number,
    replace_node,
    with_argument,
    with_default,
    without_argument,
)

_ACTIVATION_MODULES = ("ReLU", "SiLU", "GELU", "Hardswish", "Mish", "LeakyReLU", "ELU")
_ACTIVATION_FUNCTIONS = ("relu", "silu", "gelu", "hardswish", "mish", "leaky_relu", "elu")


def activation_module(module: cst.Module, rng: random.Random) -> Result:
    return _other_name(module, rng, _ACTIVATION_MODULES, "activation")


def activation_function(module: cst.Module, rng: random.Random) -> Result:
    return _other_name(module, rng, _ACTIVATION_FUNCTIONS, "activation")


def gate_function(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("sigmoid",)) if _is_function(c)]
    if not found:
        return None
    call = rng.choice(found)
    inner = code_of(call.args[0].value)
    new = rng.choice([f"F.hardsigmoid({inner})", f"(0.5 + 0.5 * torch.tanh({inner}))", f"torch.sigmoid(2.0 * {inner})"])
    return replace_node(module, call, new), f"replace the gate `{code_of(call)}` by `{new}`"


def dropout_rate(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("Dropout", "Dropout2d")) if parse_number(argument(c, 0, "p")) is not None]
    if not found:
        return None
    call = rng.choice(found)
    rate = rng.choice([r for r in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4) if r != parse_number(argument(call, 0, "p"))])
    new = number_literal(rate)
    return replace_node(module, call, with_argument(call, "p", new, 0)), f"set the dropout rate to {new}"


def add_dropout(module: cst.Module, rng: random.Random) -> Result:
    site = _activation_in_forward(module, rng)
    if site is None:
        return None
    rate = rng.choice((0.03, 0.05, 0.1))
    new = f"F.dropout({code_of(site)}, {rate}, self.training)"
    return replace_node(module, site, new), f"drop {rate:.0%} after an activation"


def self_gate(module: cst.Module, rng: random.Random) -> Result:
    """Add a gate without parameters, which scales each channel by how active it is."""
    site = _activation_in_forward(module, rng)
    if site is None or not _is_of_images(module, site):
        return None
    inner = code_of(site)
    gated = f"(lambda a: a * torch.sigmoid(a.mean((-2, -1), keepdim=True)))({inner})"
    return replace_node(module, site, gated), "scale each channel by the sigmoid of its own mean after an activation"


def mixed_activation(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, _ACTIVATION_FUNCTIONS) if _is_function(c)]
    if not found:
        return None
    call = rng.choice(found)
    inner, name = code_of(call.args[0].value), called_name(call)
    other = rng.choice([f for f in ("silu", "gelu", "mish", "relu") if f != name])
    return replace_node(module, call, f"(0.5 * F.{name}({inner}) + 0.5 * F.{other}({inner}))"), f"average {name} with {other}"


def kernel_default(module: cst.Module, rng: random.Random) -> Result:
    found = _scalable_kernels(module)
    if not found:
        return None
    return with_default(module, rng.choice(found), rng.choice((3, 5, 7)))


def smaller_kernel_default(module: cst.Module, rng: random.Random) -> Result:
    found = [p for p in _scalable_kernels(module) if default_value(p) > 1]
    return with_default(module, rng.choice(found), 3 if default_value(found[0]) > 3 else 1) if found else None


def kernel_literal(module: cst.Module, rng: random.Random) -> Result:
    """Change an odd kernel whose padding is written out and keeps the size."""
    found = []
    for call in calls_of(module, ("Conv2d",)):
        arguments = ((2, "kernel_size"), (4, "padding"), (3, "stride"))
        size, padding, stride = (parse_number(argument(call, i, k)) for i, k in arguments)
        if size and padding is not None and size % 2 and padding == size // 2 and stride in (None, 1, 2):
            found.append(call)
    if not found:
        return None
    call = rng.choice(found)
    size = rng.choice([k for k in (1, 3, 5) if k != parse_number(argument(call, 2, "kernel_size"))])
    new = with_argument(with_argument(call, "kernel_size", str(size), 2), "padding", str(size // 2), 4)
    return replace_node(module, call, new), f"use a {size} x {size} kernel"


def grouped_pointwise(module: cst.Module, rng: random.Random) -> Result:
    found = _pointwise(module)
    if not found:
        return None
    call, groups = rng.choice(found), rng.choice((2, 3, 4))
    a, b = argument(call, 0, "in_channels"), argument(call, 1, "out_channels")
    shared = f"math.gcd({a}, {groups})" if a == b else f"math.gcd({a}, {b}, {groups})"
    new = with_argument(call, "groups", shared)
    return replace_node(module, call, new), f"split a 1x1 convolution into up to {groups} groups"


def low_rank_pointwise(module: cst.Module, rng: random.Random) -> Result:
    found = _pointwise(module)
    if not found:
        return None
    call, ratio = rng.choice(found), rng.choice((3, 4, 6, 8))
    a, b = argument(call, 0, "in_channels"), argument(call, 1, "out_channels")
    inner = f"max(4, min({a}, {b}) // {ratio})"
    bias = argument(call, 7, "bias") or "True"
    new = f"nn.Sequential(nn.Conv2d({a}, {inner}, 1, bias=False), nn.Conv2d({inner}, {b}, 1, bias={bias}))"
    return replace_node(module, call, new), f"factorise a 1x1 convolution through {ratio} times fewer channels"


def separable(module: cst.Module, rng: random.Random) -> Result:
    """Replace a dense k x k convolution by a depthwise k x k one and a pointwise one."""
    found = []
    for call in calls_of(module, ("Conv2d",)):
        spatial = parse_number(argument(call, 2, "kernel_size")) != 1
        plain = argument(call, 6, "groups") is None and argument(call, 5, "dilation") is None
        if spatial and plain and argument(call, 1, "out_channels") and not is_wrapped(module, call):
            found.append(call)
    if not found or _stays_a_layer(module):
        return None
    call = rng.choice(found)
    a, b, size = (argument(call, i, k) for i, k in enumerate(("in_channels", "out_channels", "kernel_size")))
    extras = "".join(f", {k}={v}" for i, k in ((3, "stride"), (4, "padding")) if (v := argument(call, i, k)))
    bias = argument(call, 7, "bias") or "True"
    new = f"nn.Sequential(nn.Conv2d({a}, {a}, {size}{extras}, groups={a}, bias=False), nn.Conv2d({a}, {b}, 1, bias={bias}))"
    return replace_node(module, call, new), "factorise a dense convolution into depthwise and pointwise"


def asymmetric_depthwise(module: cst.Module, rng: random.Random) -> Result:
    """Replace a depthwise k x k convolution by a k x 1 and a 1 x k one."""
    found = []
    for call in calls_of(module, ("Conv2d",)):
        if (
            argument(call, 6, "groups") == argument(call, 0, "in_channels") == argument(call, 1, "out_channels")
            and (argument(call, 4, "padding") and argument(call, 3, "stride") is None and argument(call, 2, "kernel_size") != "1")
            and not is_wrapped(module, call)
        ):
            found.append(call)
    if not found or _stays_a_layer(module):
        return None
    call = rng.choice(found)
    c, size, pad = argument(call, 0, "in_channels"), argument(call, 2, "kernel_size"), argument(call, 4, "padding")
    new = (
        f"nn.Sequential(nn.Conv2d({c}, {c}, ({size}, 1), padding=({pad}, 0), groups={c}, bias=False), "
        f"nn.Conv2d({c}, {c}, (1, {size}), padding=(0, {pad}), groups={c}))"
    )
    return replace_node(module, call, new), "factorise a depthwise kernel into a column and a row"


def bias_off(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("Conv2d", "Linear")) if argument(c, None, "bias") in (None, "True") and len(c.args) < 6]
    found = [c for c in found if not is_wrapped(module, c)]
    if not found or _stays_a_layer(module):
        return None
    call = rng.choice(found)
    return replace_node(module, call, with_argument(call, "bias", "False")), f"drop the bias of a {called_name(call)}"


def bias_on(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("Conv2d", "Linear")) if argument(c, None, "bias") == "False"]
    if not found:
        return None
    call = rng.choice(found)
    return replace_node(module, call, without_argument(call, "bias")), f"give a {called_name(call)} a bias"


def plain_norm(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("LayerNorm",)) if argument(c, None, "elementwise_affine") is None]
    if not found:
        return None
    call = rng.choice(found)
    new = with_argument(call, "elementwise_affine", "False")
    return replace_node(module, call, new), "normalise without learned scale and shift"


def group_norm(module: cst.Module, rng: random.Random) -> Result:
    found = calls_of(module, ("BatchNorm2d",))
    if not found or _stays_a_layer(module):
        return None
    call, groups = rng.choice(found), rng.choice((2, 4, 6))
    channels = argument(call, 0, "num_features")
    return replace_node(module, call, f"nn.GroupNorm(math.gcd({channels}, {groups}), {channels})"), "normalise groups of channels"


def norm_momentum(module: cst.Module, rng: random.Random) -> Result:
    found = calls_of(module, ("BatchNorm2d",))
    if not found:
        return None
    call, value = rng.choice(found), rng.choice(("0.05", "0.2", "0.3", "0.5"))
    return replace_node(module, call, with_argument(call, "momentum", value)), f"let a batch norm's statistics move by {value}"


def pooling(module: cst.Module, rng: random.Random) -> Result:
    if re.search("return_indices|dilation|Unpool|unpool", module.code):  # only the maximum has these
        return None
    return _other_name(module, rng, ("max_pool2d", "avg_pool2d"), "pooling") or _other_name(
        module, rng, ("MaxPool2d", "AvgPool2d"), "pooling"
    )


def global_pooling(module: cst.Module, rng: random.Random) -> Result:
    means = (c for c in calls_of(module, ("mean",)) if isinstance(c.func, cst.Attribute) and c.args)
    found = [c for c in means if code_of(c.args[0].value) == "(2, 3)"]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, cst.Attribute)
    x = code_of(call.func.value)
    if "(" in x:  # not a plain name: the second choice below would evaluate it twice
        return replace_node(module, call, f"{x}.amax((2, 3))"), "pool by the maximum instead of the mean"
    share = rng.choice((0.3, 0.5, 0.7))
    new = rng.choice((f"{x}.amax((2, 3))", f"({share} * {x}.mean((2, 3)) + {number_literal(1 - share)} * {x}.amax((2, 3)))"))
    return replace_node(module, call, new), f"pool globally by `{new}`"


_PARTS = re.compile(r"\.(weight|bias|in_channels|out_channels|in_features|out_features|num_features)\b")
"""Attributes of a layer: code that reads them needs the layer to stay of its kind."""


def _stays_a_layer(module: cst.Module) -> bool:
    return bool(_PARTS.search(module.code))


def _is_function(call: cst.Call) -> bool:
    """Whether it is `F.relu(x)` or the like, not `x.relu()`."""
    return len(call.args) >= 1 and call.args[0].keyword is None and not call.args[0].star and _prefix(call) in _PREFIXES


def _is_of_images(module: cst.Module, site: cst.Call) -> bool:
    """Whether what is activated has two places beside its channels: it comes from a 2D layer of this block."""
    layers = re.findall(r"self\.(\w+)\s*=\s*(?:torch\.)?(?:nn\.)?(?:Conv|BatchNorm)2d\(", module.code)
    first = re.match(r"self\.(\w+)\(", code_of(site.args[0].value))
    if first:
        return first[1] in layers
    return "2d(" in module.code and not re.search(r"Linear\(|flatten|view\(|reshape\(", module.code)


def _scalable_kernels(module: cst.Module) -> list[cst.Param]:
    """The defaults of kernels whose padding follows them."""
    found = numeric_defaults(module, ("kernel_size", "kernel"))
    return [p for p in found if re.search(rf"{p.name.value}\s*//\s*2|{p.name.value}\s*-\s*1|[\"']same[\"']", module.code)]


_PREFIXES = ("", "F.", "nn.", "torch.", "nn.functional.", "torch.nn.", "torch.nn.functional.")


def _prefix(call: cst.Call) -> str:
    """`torch.nn.` of `torch.nn.ReLU()`; empty for a plain name."""
    return code_of(call.func)[: -len(called_name(call))]


def _other_name(module: cst.Module, rng: random.Random, names: tuple[str, ...], what: str) -> Result:
    """Replace a call of one of `names` by a call of another one. `what`: "activation" or "pooling", for the description."""
    found = [call for call in calls_of(module, names) if _prefix(call) in _PREFIXES]  # `x.relu()` has no such sisters
    if not found:
        return None
    call = rng.choice(found)
    old = called_name(call)
    new = rng.choice([n for n in names if n != old])
    prefix = "F." if _prefix(call) in ("torch.", "") and old[0].islower() else _prefix(call) or "nn."  # torch has only relu
    func = cst.parse_expression(prefix + new)
    kept = call.args if what == "pooling" else [a for a in call.args if a.keyword is None][: 0 if old[0].isupper() else 1]
    args = [a.with_changes(comma=cst.MaybeSentinel.DEFAULT) if i == len(kept) - 1 else a for i, a in enumerate(kept)]
    return replace_node(module, call, call.with_changes(func=func, args=args)), f"replace the {what} {old} by {new}"


def _activation_in_forward(module: cst.Module, rng: random.Random) -> cst.Call | None:
    forward = forward_method(module)
    found = [c for c in calls_of(forward, _ACTIVATION_FUNCTIONS) if _is_function(c)] if forward else []
    return rng.choice(found) if found else None


def _pointwise(module: cst.Module) -> list[cst.Call]:
    """The calls that make 1 x 1 convolutions without groups, stride or padding."""
    return [] if _stays_a_layer(module) else [
        c for c in calls_of(module, ("Conv2d",))
        if argument(c, 2, "kernel_size") == "1"
        and argument(c, None, "groups") is None
        and argument(c, 3, "stride") in (None, "1")
        and argument(c, 4, "padding") in (None, "0")
        and not is_wrapped(module, c)
    ]  # fmt: skip


LAYERS = make_rewrites(
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
)
