"""Choosing among the rewrites: by directive, by what helped elsewhere, and by merging two versions of a block."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from agent.genome.rewrites.layers import LAYERS
from agent.genome.rewrites.tools import Rewrite, code
from agent.genome.rewrites.training import FALLBACK, TRAINING

CATALOGUE: tuple[Rewrite, ...] = (*LAYERS, *TRAINING)

_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"math\.gcd\(.*groups|groups=math\.gcd", ("grouped_pointwise",)),
    (r"// \d+\), 1, bias", ("low_rank_pointwise", "grouped_pointwise")),
    (r"\(1, kernel|, 1\), padding=\(", ("asymmetric_depthwise",)),
    (r"F\.(relu|silu|gelu|hardswish|mish|leaky_relu|elu)\b", ("activation_function", "mixed_activation")),
    (r"nn\.(ReLU|SiLU|GELU|Hardswish|Mish|LeakyReLU|ELU)\b", ("activation_module", "activation_function")),
    (r"GroupNorm", ("group_norm",)),
    (r"sigmoid|tanh", ("gate_function", "self_gate")),
    (r"[Dd]ropout", ("dropout_rate", "add_dropout")),
    (r"kernel_size=\d", ("kernel_default",)),
    (r"optim\.\w+\(", ("other_optimizer", "learning_rate")),
    (r"\blr=|max_lr=", ("learning_rate",)),
    (r"weight_decay", ("weight_decay", "dropout_rate")),
    (r"pool2d", ("pooling",)),
    (r"amax|mean\(", ("global_pooling",)),
    (r"bias=False", ("bias_off",)),
    (r"= self\.\w+$", ("shared_layer",)),
    (r"\w+\(\d+\),|\(\d+, \d+\)", ("narrower", "one_layer_less", "narrow_last_stage", "grouped_pointwise", "low_rank_pointwise")),
)
"""What a changed line shows -> the rewrites that do the same kind of thing."""


@dataclass(frozen=True)
class Change:
    """A block's new source, the imports it needs, and what was done, in words."""

    source: str
    imports: str
    told: str


def mutate(source: str, directive: str, rng: random.Random) -> Change | None:
    """One rewrite of the directive's kind, two for the bold directives; None if nothing at all fits."""
    fitting = [r for r in CATALOGUE if directive in r.directives]
    first = rewritten(source, fitting, rng)
    if first is None:
        others = [r for r in CATALOGUE if directive != "reduce size" or "reduce size" in r.directives]
        return rewritten(source, others, rng) or (
            rewritten(source, [FALLBACK], rng)
        )
    if directive == "significant" and rng.random() < 0.5:
        second = rewritten(first.source, fitting, rng)
        if second is not None:
            return Change(second.source, _imports(second.source), f"{first.told}; {second.told}")
    return first


def transfer(before: str, after: str, target: str, rng: random.Random) -> Change | None:
    """Applies to `target` the kind of change that turned `before` into `after`."""
    return (
        rewritten(target, kind_of_change(before, after), rng)
        or mutate(target, "reduce size" if smaller(before, after) else "parameters", rng)
        or rewritten(target, [FALLBACK], rng)
    )


def kind_of_change(before: str, after: str) -> list[Rewrite]:
    """The rewrites that do what the changed lines show."""
    changed = _changed_lines(before, after)
    wanted = {name for pattern, names in _SIGNS for name in names if any(re.search(pattern, line) for line in changed)}
    return [rewrite for rewrite in CATALOGUE if rewrite.name in wanted]


def smaller(before: str, after: str) -> bool:
    """Did the change make the code shorter?"""
    return any(_changed_lines(before, after)) and len(after) < len(before)


def _changed_lines(before: str, after: str) -> list[str]:
    return [line[1:].strip() for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:1] in "+-"]


def merge(a: str, b: str, rng: random.Random) -> Change:
    """Statements of either version, kept together where one relies on another; B whole where they do not mix.

    Never A whole: the result goes into A's program, and a copy of A would be trained for nothing.
    """
    one, other = cst.parse_module(a), cst.parse_module(b)
    versions = [_definition(one), _definition(other)]
    if type(versions[0]) is not type(versions[1]):
        return Change(b, _imports(b), "take version B whole: the two have nothing in common")
    for _ in range(8):
        mixed = _mixed(versions[0], versions[1], rng)
        text = one.with_changes(body=[s if s is not versions[0] else mixed for s in one.body]).code
        if text not in (a, b) and _consistent(mixed):
            return Change(text, _imports(text), "take some statements from version A and the others from version B")
    return Change(b, _imports(b), "take version B whole: the parts do not mix")


def rewritten(source: str, rewrites: Sequence[Rewrite], rng: random.Random) -> Change | None:
    """By the first of the rewrites, in random order, that fits."""
    module = cst.parse_module(source)
    for rewrite in rng.sample(rewrites, len(rewrites)):
        result = rewrite.apply(module, rng)
        if result is not None and result[0].code != source:
            text, told = result[0].code, result[1]
            return Change(text, _imports(text), f"{told}")
    return None


def _imports(source: str) -> str:
    """What the rewrites may have brought in."""
    lines = []
    if re.search(r"\bmath\.", source):
        lines.append("import math")
    if re.search(r"\btorch\.", source):
        lines.append("import torch")
    if re.search(r"\bF\.", source):
        lines.append("import torch.nn.functional as F")
    if re.search(r"\bnn\.", source):
        lines.append("from torch import nn")
    return "\n".join(lines)


_Definition = cst.ClassDef | cst.FunctionDef


def _definition(module: cst.Module) -> _Definition:
    return next(s for s in module.body if isinstance(s, _Definition))


def _mixed(a: _Definition, b: _Definition, rng: random.Random) -> _Definition:
    """Member by member for a class, statement by statement for functions of as many statements."""
    if isinstance(a, cst.ClassDef) and isinstance(b, cst.ClassDef):
        theirs = {_key(s): s for s in b.body.body}
        members = []
        for statement in a.body.body:
            twin = theirs.get(_key(statement))
            if isinstance(statement, cst.FunctionDef) and isinstance(twin, cst.FunctionDef):
                statement = _mixed_function(statement, twin, rng)
            members.append(statement)
        own = {_key(s) for s in a.body.body}
        members += [s for key, s in theirs.items() if key not in own]
        return a.with_changes(body=a.body.with_changes(body=members))
    assert isinstance(a, cst.FunctionDef) and isinstance(b, cst.FunctionDef)
    return _mixed_function(a, b, rng)


def _mixed_function(a: cst.FunctionDef, b: cst.FunctionDef, rng: random.Random) -> cst.FunctionDef:
    parts = a.body.body, b.body.body
    if code(a.params) != code(b.params) or len(parts[0]) != len(parts[1]):
        return rng.choice((a, b))
    mixed = [rng.choice(pair) for pair in zip(*parts, strict=True)]
    return a.with_changes(body=a.body.with_changes(body=mixed))


def _consistent(node: _Definition) -> bool:
    """Every `self.x` that is read is also written somewhere, or inherited; one version's names are not missing."""
    text = code(node)
    written = set(re.findall(r"self\.(\w+)\s*=[^=]", text)) | set(re.findall(r"def (\w+)\(", text)) | {"training"}
    read = set(re.findall(r"self\.(\w+)", text))
    inherited = {"register_buffer", "register_parameter", "modules", "parameters"}
    return not isinstance(node, cst.ClassDef) or read <= written | inherited


def _key(statement: cst.CSTNode) -> str:
    return statement.name.value if isinstance(statement, cst.FunctionDef) else code(statement).strip()
