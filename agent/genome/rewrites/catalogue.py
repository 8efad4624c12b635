"""Rewrite one block: by a directive, by the kind of change that helped elsewhere, or by merging two versions."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import libcst as cst

from agent.genome.analysis import DEFINITIONS, parse
from agent.genome.rewrites.change import Change
from agent.genome.rewrites.constants import retune
from agent.genome.rewrites.layers import LAYERS
from agent.genome.rewrites.structure import STRUCTURE
from agent.genome.rewrites.tools import PARAMETERS, REDUCE, SIGNIFICANT, Rewrite, code_of
from agent.genome.rewrites.training import FALLBACK, TRAINING
from agent.genome.rewrites.widths import layer_numbers

CATALOGUE: tuple[Rewrite, ...] = (*LAYERS, *STRUCTURE, *TRAINING)
_ENLARGING = frozenset({"wider", "one_layer_more", "bias_on", "kernel_default", "kernel_literal"})

_KINDS_BY_PATTERN: tuple[tuple[str, tuple[str, ...]], ...] = (
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
"""A pattern that a changed line matches, and the names of the rewrites that make the same kind of change."""

_LONGEST = 200
"""Characters of a changed line that are looked at."""


def mutate(source: str, directive: str, rng: random.Random) -> Change | None:
    """Apply a rewrite that the directive asks for, and sometimes two if it is `significant`; None if no rewrite fits.

    Where none of the directive's rewrites fits, another one is applied: one that enlarges a block to be reduced only if nothing
    else fits.
    """
    if _holds_constants(source):
        return retune(source, rng)
    rewrites = [r for r in CATALOGUE if directive in r.directives]
    first = apply_any(source, rewrites, rng)
    if first is None:
        others = [r for r in CATALOGUE if directive != REDUCE or r.name not in _ENLARGING]
        return apply_any(source, others, rng) or apply_any(source, [FALLBACK], rng) or apply_any(source, CATALOGUE, rng)
    if directive == SIGNIFICANT and rng.random() < 0.5:
        second = apply_any(first.source, rewrites, rng)
        if second is not None:
            return Change(second.source, second.imports, f"{first.description}; {second.description}")
    return first


@lru_cache(maxsize=512)
def fits(source: str) -> bool:
    """Whether some rewrite changes this block."""
    if _holds_constants(source):
        return any(retune(source, random.Random(number)) for number in range(4))
    return any(apply_any(source, [rewrite], random.Random(0)) for rewrite in (*CATALOGUE, FALLBACK))


def transfer(before: str, after: str, target: str, rng: random.Random) -> Change | None:
    """Apply to `target` the kind of change that turned `before` into `after`; None if no rewrite fits."""
    if _holds_constants(target):
        return retune(target, rng)
    return (
        apply_any(target, rewrites_like(before, after), rng)
        or mutate(target, fallback_directive(before, after), rng)
        or apply_any(target, [FALLBACK], rng)
    )


def rewrites_like(before: str, after: str) -> list[Rewrite]:
    """The rewrites that make the kind of change that turned `before` into `after`."""
    changed = _changed_lines(before, after)
    wanted = {name for pattern, names in _KINDS_BY_PATTERN for name in names if any(re.search(pattern, line) for line in changed)}
    return [rewrite for rewrite in CATALOGUE if rewrite.name in wanted]


def fallback_directive(before: str, after: str) -> str:
    """The directive that is closest to a change which no rewrite makes: "reduce size" if the code became shorter."""
    shorter = any(_changed_lines(before, after)) and len(after) < len(before)
    return REDUCE if shorter else PARAMETERS


def _changed_lines(before: str, after: str) -> list[str]:
    """The lines that only one of the two has, or has more often. `difflib.ndiff` would take hours for some texts."""
    old, new = (Counter(line.strip()[:_LONGEST] for line in text.splitlines()) for text in (before, after))
    return [*(old - new).elements(), *(new - old).elements()]


def merge(a: str, b: str, rng: random.Random) -> Change:
    """Mix the statements of two versions of a block; version B as a whole if no consistent mixture is found.

    Never version A as a whole: the result goes into A's program, so training a copy of A would be wasted.
    """
    module = cst.parse_module(a)
    ours, theirs = _definition(module), _definition(cst.parse_module(b))
    if type(ours) is not type(theirs):
        return Change(b, _imports(b), "take version B whole: the two have nothing in common")
    for _ in range(8):
        mixed = _mix(ours, theirs, rng)
        text = module.with_changes(body=[s if s is not ours else mixed for s in module.body]).code
        agrees = layer_numbers(mixed) in (layer_numbers(ours), layer_numbers(theirs))  # no side of a pair alone
        if text not in (a, b) and _consistent(mixed) and agrees:
            return Change(text, _imports(text), "take some statements from version A and the others from version B")
    return Change(b, _imports(b), "take version B whole: the parts do not mix")


def apply_any(source: str, rewrites: Sequence[Rewrite], rng: random.Random) -> Change | None:
    """Try the rewrites in random order and return the change of the first that fits; None if none does."""
    module = _parsed(source)
    for rewrite in rng.sample(rewrites, len(rewrites)):
        result = rewrite.apply(module, rng)
        if result is not None and result[0].code != source:
            changed, description = result
            return Change(changed.code, _imports(changed.code), description)
    return None


_parsed = lru_cache(maxsize=16)(cst.parse_module)


def _imports(source: str) -> str:
    """Import statements for the modules that rewrites use, where the source mentions them."""
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


def _holds_constants(source: str) -> bool:
    """Whether a block is made of assignments alone."""
    return not any(isinstance(node, DEFINITIONS) for node in parse(source).body)


_Definition = cst.ClassDef | cst.FunctionDef


def _definition(module: cst.Module) -> _Definition:
    return next(s for s in module.body if isinstance(s, _Definition))


def _mix(a: _Definition, b: _Definition, rng: random.Random) -> _Definition:
    """Mix two classes method by method, or two functions statement by statement."""
    if isinstance(a, cst.ClassDef) and isinstance(b, cst.ClassDef):
        theirs = {_key(s): s for s in b.body.body}
        members = []
        for statement in a.body.body:
            twin = theirs.get(_key(statement))
            if isinstance(statement, cst.FunctionDef) and isinstance(twin, cst.FunctionDef):
                statement = _mix_functions(statement, twin, rng)
            members.append(statement)
        own = {_key(s) for s in a.body.body}
        members += [s for key, s in theirs.items() if key not in own]
        return a.with_changes(body=a.body.with_changes(body=members))
    assert isinstance(a, cst.FunctionDef) and isinstance(b, cst.FunctionDef)
    return _mix_functions(a, b, rng)


def _mix_functions(a: cst.FunctionDef, b: cst.FunctionDef, rng: random.Random) -> cst.FunctionDef:
    """Choose each statement from either function; one whole function if parameters or numbers of statements differ."""
    parts = a.body.body, b.body.body
    if code_of(a.params) != code_of(b.params) or len(parts[0]) != len(parts[1]):
        return rng.choice((a, b))
    mixed = [rng.choice(pair) for pair in zip(*parts, strict=True)]
    return a.with_changes(body=a.body.with_changes(body=mixed))


def _consistent(node: _Definition) -> bool:
    """Whether every `self.x` that a class reads is also written in it, or inherited from `nn.Module`."""
    text = code_of(node)
    written = set(re.findall(r"self\.(\w+)\s*=[^=]", text)) | set(re.findall(r"def (\w+)\(", text)) | {"training"}
    read = set(re.findall(r"self\.(\w+)", text))
    inherited = {"register_buffer", "register_parameter", "modules", "parameters"}
    return not isinstance(node, cst.ClassDef) or read <= written | inherited


def _key(statement: cst.CSTNode) -> str:
    return statement.name.value if isinstance(statement, cst.FunctionDef) else code_of(statement).strip()
