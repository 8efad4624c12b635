"""Counting parameters from the tensors that the trusted side holds: the candidate's own count is never asked."""

from __future__ import annotations

import math

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class BadWeights(Exception):
    """The bytes are no safetensors, or hold what weights must not."""


def count_parameters(data: bytes) -> int:
    """Elements of all tensors of a safetensors file; elements wider than 32 bits count for each 32 bits begun.

    Not counted are the running statistics of a normalisation layer, and only under a strict rule: `X.running_mean` and
    `X.running_var` count nothing if both have the one-dimensional shape of a weight `X.weight` beside them, and then
    a scalar `X.num_batches_tracked` counts nothing either. Any other buffer counts as parameters, so that nothing
    can be learned into a tensor that the objective does not see. Raises BadWeights.
    """
    import safetensors

    try:
        tensors = {name: (tuple(t["shape"]), len(t["data"])) for name, t in safetensors.deserialize(data)}
    except safetensors.SafetensorError as error:
        raise BadWeights(f"the weights are not valid safetensors: {error}") from None
    if not tensors:
        raise BadWeights("the model has no weights")
    shapes = {name: shape for name, (shape, _) in tensors.items()}
    return sum(
        max(math.prod(shape), -(-size // 4) if size > 4 * math.prod(shape) else 0)
        for name, (shape, size) in tensors.items()
        if not _is_statistic(name, shapes)
    )


def _is_statistic(name: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    prefix, _, last = name.rpartition(".")
    if last not in _STATISTICS:
        return False
    mean, var, weight = (shapes.get(f"{prefix}.{part}") for part in ("running_mean", "running_var", "weight"))
    if weight is None or len(weight) != 1 or not mean == var == weight:
        return False
    return last != "num_batches_tracked" or shapes[name] == ()
