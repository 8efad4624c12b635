"""Rewrites of how a model is trained: optimizer, schedule, loss, augmentation."""

from __future__ import annotations

import random
import re

import libcst as cst
import libcst.matchers as m

from agent.genome.rewrites.constants import is_setting
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
    forward_method,
    make_rewrites,
    number_literal,
    parse_number,
    replace_node,
    with_argument,
)

_OPTIMIZERS = ("SGD", "AdamW", "Adam", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "Adagrad")
_WITH_BETAS = ("AdamW", "Adam", "NAdam", "RAdam", "Adamax")
_SCHEDULES = ("StepLR", "MultiStepLR", "ExponentialLR")
_SECOND = {**dict.fromkeys(_OPTIMIZERS, "lr"), "OneCycleLR": "max_lr", "clip_grad_norm_": "max_norm"}
"""The name of the second argument of functions of torch."""
_OWN_SCHEDULE = re.compile(r"CyclicLR|[\"'](?:momentum|betas|alpha|eps)[\"']\]")
"""Code that moves a setting of the optimizer that it has, which another optimizer may lack."""


def learning_rate(module: cst.Module, rng: random.Random) -> Result:
    return _scaled(module, ("lr", "max_lr", "eta_min"), rng.choice((0.5, 0.7, 1.5, 2.0)), "the learning rate")


def weight_decay(module: cst.Module, rng: random.Random) -> Result:
    return _scaled(module, ("weight_decay",), rng.choice((0.1, 0.3, 3.0, 10.0)), "weight decay")


def betas(module: cst.Module, rng: random.Random) -> Result:
    return _set(module, "betas", rng.choice(("(0.9, 0.95)", "(0.9, 0.98)", "(0.9, 0.99)", "(0.85, 0.999)")), _WITH_BETAS)


def decay_of_rate(module: cst.Module, rng: random.Random) -> Result:
    """Let a schedule lower the learning rate more or less with each of its steps: its factor to a power stays below 1."""
    power = rng.choice((0.5, 2.0))
    for call in calls_of(module, _SCHEDULES):
        if old := argument(call, None, "gamma"):
            value = parse_number(old)
            new = f"({old}) ** {power}" if value is None else repr(float(f"{value**power:.3g}"))
            return replace_node(module, call, with_argument(call, "gamma", new)), f"decay the learning rate by {new}, not {old}"
    return None


def gradient_clip(module: cst.Module, rng: random.Random) -> Result:
    factor = rng.choice((0.3, 0.5, 2.0, 3.0))
    return _scaled(module, ("max_norm",), factor, "the largest norm of gradients", ("clip_grad_norm_",))


def momentum(module: cst.Module, rng: random.Random) -> Result:
    return _set(module, "momentum", rng.choice(("0.8", "0.85", "0.95")), _OPTIMIZERS)


def nesterov(module: cst.Module, rng: random.Random) -> Result:
    found = [c for c in calls_of(module, ("SGD",)) if argument(c, None, "nesterov") and argument(c, None, "momentum")]
    if not found:
        return None
    value = "False" if argument(found[0], None, "nesterov") == "True" else "True"
    return replace_node(module, found[0], with_argument(found[0], "nesterov", value)), f"set Nesterov momentum to {value}"


def warm_up(module: cst.Module, rng: random.Random) -> Result:
    return _set(module, "pct_start", rng.choice(("0.1", "0.15", "0.2", "0.4", "0.5")), ("OneCycleLR",))


def final_rate(module: cst.Module, rng: random.Random) -> Result:
    return _set(module, "final_div_factor", rng.choice(("10.0", "100.0", "1000.0")), ("OneCycleLR",))


def cycle_shape(module: cst.Module, rng: random.Random) -> Result:
    return _set(module, "anneal_strategy", '"linear"', ("OneCycleLR",))


def cosine(module: cst.Module, rng: random.Random) -> Result:
    found = calls_of(module, ("OneCycleLR",))
    steps = argument(found[0], 2, "total_steps") if found else None
    optimizer = argument(found[0], 0, "optimizer") if found else None
    if not steps or not optimizer:
        return None
    new = f"torch.optim.lr_scheduler.CosineAnnealingLR({optimizer}, T_max={steps})"
    return replace_node(module, found[0], new), "anneal by a plain cosine without warm-up"


def other_optimizer(module: cst.Module, rng: random.Random) -> Result:
    """Change the optimizer, with a learning rate that suits it; a schedule that names a peak rate gets the same."""
    found = calls_of(module, _OPTIMIZERS)
    if not found or not found[0].args or _OWN_SCHEDULE.search(module.code):
        return None
    first = found[0].args[0]
    if first.star or (first.keyword is not None and first.keyword.value != "params"):
        return None
    call, parameters = found[0], code_of(found[0].args[0].value)
    old = called_name(call)
    decay = parse_number(argument(call, None, "weight_decay")) or 1e-4
    if old in ("SGD", "Adadelta", "Adagrad"):
        name, rate = rng.choice((("AdamW", 0.004), ("NAdam", 0.003), ("RAdam", 0.005)))
        decay = max(decay, 0.01) if name == "AdamW" else decay
        new = f"torch.optim.{name}({parameters}, lr={rate}, weight_decay={number_literal(decay)})"
    else:
        name, rate = "SGD", 0.1
        new = f"torch.optim.SGD({parameters}, lr={rate}, momentum=0.9, nesterov=True, weight_decay=0.0001)"
    changed = replace_node(module, call, new)
    for schedule in calls_of(changed, ("OneCycleLR",)):
        changed = replace_node(changed, schedule, with_argument(schedule, "max_lr", str(rate), 1))
    return changed, f"train with {name} at a learning rate of {rate}"


def label_smoothing(module: cst.Module, rng: random.Random) -> Result:
    """Not where the loss is a part of the network, or is computed without gradients: there it may be what is measured."""
    if forward_method(module) or re.search(r"no_grad|inference_mode|reduction", module.code):
        return None
    return _set(module, "label_smoothing", rng.choice(("0.03", "0.05", "0.1")), ("cross_entropy", "CrossEntropyLoss"))


def any_number(module: cst.Module, rng: random.Random) -> Result:
    """Change the fraction of some named setting a little, up or down: a keyword argument, a default or an assigned name.

    A number inside an expression has no name: it may be a unit, a range of the data, or a part of the measurement.
    """
    assigned = m.Assign(targets=[m.AssignTarget(m.Name() | m.Attribute())], value=m.Float())
    named = m.OneOf(m.Arg(keyword=m.Name(), value=m.Float()), m.Param(default=m.Float()), assigned, m.AnnAssign(value=m.Float()))
    found: list[cst.Float] = []
    for node in m.findall(module, named):
        value = node.default if isinstance(node, cst.Param) else getattr(node, "value", None)
        if isinstance(value, cst.Float) and float(value.value) and is_setting(_name_of(node)):
            found.append(value)
    if not found:
        return None
    chosen, factor = rng.choice(found), rng.choice((0.8, 0.9, 1.1, 1.25))
    old = float(chosen.value)
    factor = 0.9 if old < 1 <= old * factor else factor  # a share stays one
    new = repr(float(f"{old * factor:.3g}"))
    return replace_node(module, chosen, cst.Float(new)), f"change {chosen.value} to {new}"


def _name_of(node: cst.CSTNode) -> str:
    """The name that a number is given. The default of a parser has none: the command line may set another value."""
    match node:
        case cst.Arg(keyword=cst.Name(value=name)):
            return "" if name == "default" else name
        case cst.Param(name=cst.Name(value=name)):
            return name
        case cst.Assign(targets=[target, *_]):
            return code_of(target.target).rpartition(".")[2]
        case cst.AnnAssign(target=target):
            return code_of(target).rpartition(".")[2]
    return ""


def _scaled(
    module: cst.Module,
    keywords: tuple[str, ...],
    factor: float,
    what: str,
    functions: tuple[str, ...] = (*_OPTIMIZERS, "OneCycleLR", "CosineAnnealingLR"),
) -> Result:
    """Multiply every number that is passed under one of the keywords, and every setting that stands there, such as `args.lr`."""
    changed, description = module, ""
    for keyword in keywords:
        for call in calls_of(changed, functions):
            position = 1 if _SECOND.get(called_name(call)) == keyword else None
            old = argument(call, position, keyword)
            if new := _times(old, factor):
                description = description or f"change {what} from {old} to {new}"
                changed = replace_node(changed, call, with_argument(call, keyword, new, position))
    return (changed, description) if description else None


def _times(old: str | None, factor: float) -> str | None:
    """The source of the product; None for what is no number and no setting's name. A product of before keeps one factor."""
    value = parse_number(old)
    if value is not None:
        return repr(float(f"{value * factor:.3g}")) if value else None
    expression = cst.parse_expression(old) if old else None
    if isinstance(expression, cst.BinaryOperation) and isinstance(expression.operator, cst.Multiply):
        left = parse_number(code_of(expression.left))
        return f"{_times(code_of(expression.left), factor)} * {code_of(expression.right)}" if left else None
    return f"{factor} * {old}" if _is_setting_of_program(expression) else None


def _is_setting_of_program(expression: cst.BaseExpression | None) -> bool:
    named = isinstance(expression, cst.Name | cst.Attribute | cst.Subscript)
    return expression is not None and named and code_of(expression) not in ("None", "True", "False")


def _set(module: cst.Module, keyword: str, value: str, functions: tuple[str, ...]) -> Result:
    """Set a keyword argument of the first call of `functions` where it has another value; momentum only where it has one."""
    found = [c for c in calls_of(module, functions) if argument(c, None, keyword) != value and _may_name(c, keyword)]
    if keyword == "momentum":
        found = [c for c in found if argument(c, None, "momentum")]
    if not found:
        return None
    return replace_node(module, found[0], with_argument(found[0], keyword, value)), f"set `{keyword}` to {value}"


def _may_name(call: cst.Call, keyword: str) -> bool:
    """Whether the argument is passed by its name, or is not passed for sure."""
    plain = sum(not arg.star and arg.keyword is None for arg in call.args)
    return argument(call, None, keyword) is not None or (plain <= 2 and not any(arg.star for arg in call.args))


TRAINING = make_rewrites(
    (learning_rate, (PARAMETERS, UNCOMMON_PARAMETERS, REDUCE)),
    (weight_decay, (PARAMETERS, UNCOMMON_PARAMETERS, REDUCE)),
    (betas, (PARAMETERS, UNCOMMON_PARAMETERS)),
    (decay_of_rate, (PARAMETERS, UNCOMMON_PARAMETERS, UNCOMMON)),
    (gradient_clip, (PARAMETERS, UNCOMMON_PARAMETERS, UNCOMMON)),
    (momentum, (PARAMETERS, UNCOMMON_PARAMETERS)),
    (nesterov, (PARAMETERS, UNCOMMON)),
    (warm_up, (PARAMETERS, UNCOMMON_PARAMETERS, COMPLEX)),
    (final_rate, (PARAMETERS, UNCOMMON_PARAMETERS, UNCOMMON)),
    (cycle_shape, (UNCOMMON, COMPLEX)),
    (cosine, (SIGNIFICANT, COMPLEX, UNCOMMON)),
    (other_optimizer, (SIGNIFICANT, COMPLEX, UNCOMMON)),
    (label_smoothing, (COMPLEX, UNCOMMON, PARAMETERS, UNCOMMON_PARAMETERS)),
)
(FALLBACK,) = make_rewrites((any_number, ()))
"""Used where nothing else fits; no directive asks for it."""
