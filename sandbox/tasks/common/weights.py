"""The trusted side's treatment of weights: it counts them, and passes them on in a form that holds nothing else.

The layout of a state is fixed in the smoke stage, before the candidate has any data; training must return exactly those
tensors. So neither their names, shapes and order nor anything next to them can carry what was learned. The running statistics
of a BatchNorm are folded into its weight and bias, so that they need not be counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAX_HEADER = 8 << 20
"""Largest header in bytes: no honest state has so many tensors, and parsing more would cost the trusted side time and memory."""

_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E4M3FNUZ": 1, "F8_E5M2": 1, "F8_E5M2FNUZ": 1,
}  # fmt: skip
"""Bytes of one element, by the name of the type in safetensors."""
_EXPONENT = {
    "F64": ("<u8", 0x7FF << 52), "F32": ("<u4", 0xFF << 23), "F16": ("<u2", 0x1F << 10), "BF16": ("<u2", 0xFF << 7),
    "C64": ("<u4", 0xFF << 23), "F8_E5M2": ("u1", 0x1F << 2), "F8_E4M3": ("u1", 0x7F), "F8_E4M3FN": ("u1", 0x7F),
}  # fmt: skip
"""By type: its elements as integers, and the bits that are all set in NaN and infinity."""
MASKS = "a mask of -inf is made in forward, or registered with persistent=False"
_TENSOR = re.compile(r"tensor (\w{1,16}) (-|\d{1,12}(?:x\d{1,12}){0,15}) (.{0,512})", re.DOTALL)
_NORM = re.compile(r"norm ([\d.e+-]{1,24}) (.{0,512})", re.DOTALL)
_AFFINE = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")
_BATCHES = "num_batches_tracked"

Tensor = tuple[str, tuple[int, ...]]
"""Type and shape."""


class BadWeights(Exception):
    """The bytes are not safetensors, or not the tensors of the layout."""


MOST_PARTS, MOST_SPLITS = 10, 4
"""Parts of a model that are told at most, and how often the largest one is told by its own parts."""


@dataclass(frozen=True)
class StateLayout:
    """The tensors of a model's state, without their values."""

    tensors: Mapping[str, Tensor]
    norms: Mapping[str, float] = field(default_factory=dict)
    """Name of each BatchNorm whose statistics may be folded -> its eps."""

    @classmethod
    def read(cls, lines: Iterable[str]) -> StateLayout:
        """Parse the lines that `describe` writes, and `norm` lines; other lines are ignored."""
        tensors: dict[str, Tensor] = {}
        norms: dict[str, float] = {}
        for line in lines:
            if (match := _TENSOR.fullmatch(line)) and match[1] in _BYTES:
                tensors[match[3]] = match[1], () if match[2] == "-" else tuple(map(int, match[2].split("x")))
            elif match := _NORM.fullmatch(line):
                try:
                    norms[match[2]] = float(match[1])
                except ValueError:
                    continue
        return cls(tensors, norms)

    @cached_property
    def parameters(self) -> int:
        """Count all tensors except folded statistics, by what they can hold: see `information`."""
        return sum(
            information(kind, math.prod(shape)) for name, (kind, shape) in self.tensors.items() if name not in self._folded
        )

    def parts(self) -> dict[str, int]:
        """Return the parameters of each part of the model as it names them, the largest first: `stem`, `stages.0`, `head`.

        A part is an attribute of the model; one that holds more than half of all is told by its own parts. Buffers count too.
        """
        counts = {
            name: information(kind, math.prod(shape)) for name, (kind, shape) in self.tensors.items() if name not in self._folded
        }
        found = _grouped(counts, "")
        for _ in range(MOST_SPLITS):
            largest = max(found, key=lambda part: found[part], default="")
            inner = _grouped(counts, f"{largest}.")
            if len(inner) < 2 or found[largest] * 2 <= self.parameters:
                break
            found = {**{part: count for part, count in found.items() if part != largest}, **inner}
        return dict(sorted(found.items(), key=lambda item: -item[1])[:MOST_PARTS])

    @property
    def size(self) -> int:
        """Bytes of the values of all tensors."""
        return sum(math.prod(shape) * _BYTES[kind] for kind, shape in self.tensors.values())

    @cached_property
    def folds(self) -> tuple[str, ...]:
        """Return normalisations whose statistics do not count: float32 vectors, with a weight and a bias of the same shape."""
        found = []
        for name, eps in self.norms.items():
            first, *others = (self.tensors.get(f"{name}.{part}") for part in (*_AFFINE, *_STATISTICS))
            alike = first is not None and first[0] == "F32" and len(first[1]) == 1 and all(o == first for o in others)
            if alike and 0 <= eps < 1 and self.tensors.get(f"{name}.{_BATCHES}", ("I64", ())) == ("I64", ()):
                found.append(name)
        return tuple(found)

    @cached_property
    def _folded(self) -> frozenset[str]:
        return frozenset(f"{name}.{part}" for name in self.folds for part in (*_STATISTICS, _BATCHES))


def _grouped(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The counts of the names that begin with the prefix, by what follows on it up to the next dot."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        if name.startswith(prefix):
            part = prefix + name.removeprefix(prefix).partition(".")[0]
            found[part] = found.get(part, 0) + count
    return found


def information(kind: str, count: int) -> int:
    """Return the parameters of `count` elements of a type: one for a float, and one for each 32 bits of a wider float.

    An integer counts by its bytes, since several small numbers can be packed into it.
    """
    size = _BYTES[kind]
    return count * (size if kind[0] in "IU" else max(1, size // 4))


def describe(data: bytes) -> list[str]:
    """Return the lines of a `StateLayout` except its norms, from safetensors that the caller has made itself."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__", None)
    return [f"tensor {t['dtype']} {'x'.join(map(str, t['shape'])) or '-'} {name}" for name, t in header.items()]


def canonical(data: bytes, layout: StateLayout) -> bytes:
    """Return the same weights as safetensors that hold nothing but `layout.parameters` values. Raises BadWeights.

    The header depends on the layout alone; folded statistics are 0 and 1, and their `num_batches_tracked` is 0.
    """
    import safetensors

    if not layout.tensors:
        raise BadWeights("the model has no weights")
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise BadWeights("the weights are not valid safetensors: the header is too large")
    try:
        found: dict[str, dict[str, Any]] = dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise BadWeights(f"the weights are not valid safetensors: {error}") from None
    tensors = {name: (t["dtype"], tuple(t["shape"])) for name, t in found.items()}
    if tensors != layout.tensors:
        name = min(n for n in {*tensors, *layout.tensors} if tensors.get(n) != layout.tensors.get(n))
        was, now = (_shown(side.get(name)) for side in (layout.tensors, tensors))
        raise BadWeights(f"the tensor {name[:100]!r} is {now} after training and was {was} in the model as first built")
    values = {name: bytes(t["data"]) for name, t in found.items()}
    for name in layout.folds:
        _fold_into(values, name, layout.norms[name])
    _check_finite(values, layout)
    return _serialised(values, layout)


def _check_finite(values: Mapping[str, bytes], layout: StateLayout) -> None:
    """Raise BadWeights for NaN and infinity, which are no weights and have room for what is not counted."""
    import numpy as np

    for name, (kind, _) in layout.tensors.items():
        if kind in _EXPONENT:
            width, mask = _EXPONENT[kind]
            if bool(((np.frombuffer(values[name], width) & mask) == mask).any()):
                raise BadWeights(f"the tensor {name[:100]!r} holds NaN or infinite values; {MASKS}")


def fold(eps: float, weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight and bias that have the same effect with mean 0 and variance 1 as the given ones with `mean` and `var`."""
    import numpy as np

    with np.errstate(all="ignore"):  # a negative variance gives NaN, as it would in the model
        scale = weight.astype("f8") / np.sqrt(var.astype("f8") + eps)
        return (scale * math.sqrt(1 + eps)).astype("<f4"), (bias - mean * scale).astype("<f4")


def _fold_into(values: dict[str, bytes], name: str, eps: float) -> None:
    import numpy as np

    parts = [f"{name}.{part}" for part in (*_AFFINE, *_STATISTICS)]
    weight, bias = fold(eps, *(np.frombuffer(values[part], "<f4") for part in parts))
    for part, value in zip(parts, (weight, bias, np.zeros_like(weight), np.ones_like(weight)), strict=True):
        values[part] = value.tobytes()
    if (batches := f"{name}.{_BATCHES}") in values:
        values[batches] = bytes(8)


def _serialised(values: Mapping[str, bytes], layout: StateLayout) -> bytes:
    # Wide elements first, so that all elements are aligned.
    names = sorted(layout.tensors, key=lambda name: (-_BYTES[layout.tensors[name][0]], name))
    header: dict[str, object] = {}
    end = 0
    for name in names:
        kind, shape = layout.tensors[name]
        begin, end = end, end + len(values[name])
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(values[name] for name in names)])


def _shown(tensor: Tensor | None) -> str:
    return f"{tensor[0]} {list(tensor[1])}" if tensor else "not there"
