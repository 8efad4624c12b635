"""A model's state inside the sandbox: serialised, described before the model has seen data, counted and sized by block.

All of this runs next to the candidate's code, so its results are claims; `weights` and `stages` check them outside.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sandbox.inside.call import RunningCall, module_name
from sandbox.tasks.common.weights import describe, fold

MAX_CALLS = 12
"""Largest number of calls listed for each class."""

Calls = Mapping[str, list[tuple[str, int]]]
"""By class: what each call returns for one example, such as 12x16x16, and the parameters of the instance that is called."""

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def serialise(state: Mapping[str, Tensor]) -> bytes:
    """Return the state as safetensors; tensors that share memory are each written out."""
    from safetensors.torch import save

    return bytes(save({name: t.detach().cpu().contiguous().clone() for name, t in state.items()}))


def smoke_result(
    state: Mapping[str, Tensor],
    norms: Mapping[str, BatchNorm],
    shares: Mapping[str, int],
    calls: Calls,
    unsaved: int = 0,
) -> bytes:
    """Return the result of a smoke stage: the lines of a `StateLayout`, `class COUNT NAME`, `calls NAME 12x16x16:1204 ...` and
    `unsaved COUNT`.

    `norms`: see `foldable`; `shares`: see `parameters_by_class`; `calls`: see `recorded_calls`; `unsaved`: see `unsaved.count`.
    """
    lines = [f"unsaved {unsaved}", *describe(serialise(state)), *(f"class {count} {name}" for name, count in shares.items())]
    lines += [f"calls {name} {' '.join(f'{size}:{count}' for size, count in found)}" for name, found in calls.items()]
    lines += [f"norm {norm.eps!r} {name}" for name, norm in norms.items()]
    return "\n".join(lines).encode()


def foldable(model: nn.Module, outcome: Callable[[], Tensor]) -> dict[str, BatchNorm]:
    """Fold the statistics of normalisations into weight and bias where that leaves the outcome unchanged; return those folded.

    `outcome`: computes the model's output for some inputs in its current state, in eval mode.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm)
        and all(module.state_dict().get(part) is not None for part in ("weight", "bias", "running_mean", "running_var"))
    }
    if not norms or _fold_all(outcome, norms.values()):
        return norms
    # Some models read a statistic or share a weight. Most of their normalisations can still be folded.
    return {name: norm for name, norm in norms.items() if _fold_all(outcome, [norm])}


@torch.no_grad()
def _fold_all(outcome: Callable[[], Tensor], norms: Iterable[BatchNorm]) -> bool:
    """Fold all given normalisations. If that changes the outcome, undo it and return False."""
    before = outcome()
    kept = [(norm, {name: t.clone() for name, t in norm.state_dict().items()}) for norm in norms]
    for norm, state in kept:
        parts = (state[part].numpy() for part in ("weight", "bias", "running_mean", "running_var"))
        weight, bias = fold(norm.eps, *parts)
        new = {"weight": weight, "bias": bias, "running_mean": np.zeros_like(bias), "running_var": np.ones_like(bias)}
        norm.load_state_dict({**state, **{name: torch.from_numpy(value) for name, value in new.items()}})
    if bool((outcome() - before).abs().max() <= 1e-3 * before.std()):  # False for NaN
        return True
    for norm, state in kept:
        norm.load_state_dict(state)
    return False


def parameters_by_class(model: nn.Module, call: RunningCall) -> dict[str, int]:
    """Return the parameters by class of the candidate: each parameter belongs to the innermost such module that holds it."""
    own = {module_name(path) for path in call.sources}
    shares: dict[str, int] = {}
    owner: dict[str, str] = {"": type(model).__name__}
    counted: set[int] = set()
    for name, module in model.named_modules():
        parent = owner.get(name.rpartition(".")[0], type(model).__name__)
        owner[name] = type(module).__name__ if type(module).__module__ in own else parent
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in counted:
                counted.add(id(parameter))
                shares[owner[name]] = shares.get(owner[name], 0) + parameter.numel()
    return shares


@contextmanager
def recorded_calls(call: RunningCall) -> Iterator[dict[str, list[tuple[str, int]]]]:
    """While active, record the calls of the candidate's classes: the size returned, and the parameters of the instance.

    Parameters are counted as `parameters_by_class` does, at the first call that uses them.
    """
    own = {module_name(path) for path in call.sources}
    calls: dict[str, list[tuple[str, int]]] = {}
    counted: set[int] = set()

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if type(module).__module__ in own and isinstance(output, Tensor) and output.ndim > 1:
            found = calls.setdefault(type(module).__name__, [])
            if len(found) < MAX_CALLS:
                found.append(("x".join(map(str, output.shape[1:])), _held_parameters(module, own, counted)))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        yield calls
    finally:
        hook.remove()


def _held_parameters(module: nn.Module, own: Container[str], counted: set[int]) -> int:
    """The parameters that a module holds directly or through modules that are not the candidate's, without those `counted`."""
    total = 0
    for parameter in module.parameters(recurse=False):
        if id(parameter) not in counted:
            counted.add(id(parameter))
            total += parameter.numel()
    inner = [child for child in module.children() if type(child).__module__ not in own]
    return total + sum(_held_parameters(child, own, counted) for child in inner)


def array(descriptor: int) -> np.ndarray:
    """Return a private copy of a `.npy` file, so that changes to it cannot reach another process."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
