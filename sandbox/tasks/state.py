"""A model's state inside the sandbox: written out, described before it has seen data, and what its parts say of themselves.

All of this runs beside the candidate's code: it is a claim, and `weights` and `stages` decide outside what is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sandbox.child import Child, module_name
from sandbox.tasks.weights import describe, fold

MAX_SIZES = 12
"""How many sizes are told of each class."""

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def serialised(state: Mapping[str, Tensor]) -> bytes:
    """As safetensors; tensors that share memory are each written out."""
    from safetensors.torch import save

    return bytes(save({name: t.detach().cpu().contiguous().clone() for name, t in state.items()}))


def tell(
    state: Mapping[str, Tensor],
    norms: Mapping[str, BatchNorm],
    shares: Mapping[str, int],
    sizes: Mapping[str, list[str]],
) -> bytes:
    """The result of a smoke stage, a line for each fact: those of a `Layout`, `class COUNT NAME`, `size NAME 12x16x16 ...`."""
    lines = [*describe(serialised(state)), *(f"class {count} {name}" for name, count in shares.items())]
    lines += [f"size {name} {' '.join(found)}" for name, found in sizes.items() if found]
    lines += [f"norm {norm.eps!r} {name}" for name, norm in norms.items()]
    return "\n".join(lines).encode()


def foldable(model: nn.Module, outcome: Callable[[], Tensor]) -> dict[str, BatchNorm]:
    """The normalisations whose statistics can be folded into weight and bias without changing the outcome; they are.

    `outcome`: what the model makes of some inputs, as it is now, in eval mode.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BatchNorm)
        and all(module.state_dict().get(part) is not None for part in ("weight", "bias", "running_mean", "running_var"))
    }
    if not norms or _fold_all(outcome, norms.values()):
        return norms
    # Some model looks at a statistic, or shares a weight: most can be folded all the same.
    return {name: norm for name, norm in norms.items() if _fold_all(outcome, [norm])}


@torch.no_grad()
def _fold_all(outcome: Callable[[], Tensor], norms: Iterable[BatchNorm]) -> bool:
    """False, and nothing is changed, if it would change the outcome."""
    before = outcome()
    kept = [(norm, {name: t.clone() for name, t in norm.state_dict().items()}) for norm in norms]
    for norm, state in kept:
        parts = (state[part].numpy() for part in ("weight", "bias", "running_mean", "running_var"))
        weight, bias = fold(norm.eps, *parts)
        new = {"weight": weight, "bias": bias, "running_mean": np.zeros_like(bias), "running_var": np.ones_like(bias)}
        norm.load_state_dict({**state, **{name: torch.from_numpy(value) for name, value in new.items()}})
    if bool((outcome() - before).abs().max() <= 1e-3 * before.std()):  # NaN: it cannot be said
        return True
    for norm, state in kept:
        norm.load_state_dict(state)
    return False


def shares_of(model: nn.Module, child: Child) -> dict[str, int]:
    """Parameters by class of the candidate: each parameter belongs to the innermost such module that holds it."""
    own = {module_name(path) for path in child.sources}
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
def watched(child: Child) -> Iterator[dict[str, list[str]]]:
    """By class of the candidate, what its instances return in the calls that follow, each size once in a row."""
    own = {module_name(path) for path in child.sources}
    sizes: dict[str, list[str]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if type(module).__module__ in own and isinstance(output, Tensor) and output.ndim > 1:
            found = sizes.setdefault(type(module).__name__, [])
            size = "x".join(map(str, output.shape[1:]))
            if len(found) < MAX_SIZES and found[-1:] != [size]:
                found.append(size)

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        yield sizes
    finally:
        hook.remove()


def array(descriptor: int) -> np.ndarray:
    """A private copy of a `.npy` file, so that nothing done to it can reach another process."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
