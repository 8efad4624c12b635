"""A seed's own task inside the sandbox: the entry functions `smoke`, `fit` and `predict` around those of its `task.py`.

They run in the same process as the candidate's code, which can do anything to them: what they return is a claim. What
counts is decided outside, in `task`.
"""

from __future__ import annotations

import linecache
import mmap
import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sandbox.child import Child
from sandbox.tasks.own.splits import BARE
from sandbox.tasks.state import array, foldable, serialised, shares_of, tell, watched


def smoke(child: Child) -> bytes:
    """Trains for one step on stand-in data and predicts: what the state looks like, and what the parts say (`state.tell`)."""
    task, module = _prepare(child, seed=0)
    train, inputs = _given(child, "train"), _given(child, "inputs")
    returned = task.fit(module, train, _budget(child), 0)
    state = _state(returned)
    with torch.no_grad(), watched(child) as sizes:
        _predicted(child, task, module, _on_device(state, child), inputs)
    norms, shares = {}, {}
    if isinstance(returned, nn.Module):
        model = returned.cpu().eval()
        shares = shares_of(model, child)

        def outcome() -> Tensor:
            return torch.from_numpy(_predicted(child, task, module, _on_device(_state(model), child), inputs))

        norms = foldable(model, outcome)
    return tell(state, norms, shares, sizes)


def fit(child: Child) -> bytes:
    """The trained weights as safetensors."""
    seed = child.options["training_seed"]
    task, module = _prepare(child, seed)
    return serialised(_state(task.fit(module, _given(child, "train"), _budget(child), seed)))


def predict(child: Child) -> bytes:
    """Predictions for the given rows under the given weights: raw float32 (rows, *output_shape)."""
    from safetensors.torch import load

    task, module = _prepare(child, seed=0)
    with mmap.mmap(child.inputs["weights"], 0, access=mmap.ACCESS_READ) as data:
        weights = _on_device(load(bytes(data)), child)
    return _predicted(child, task, module, weights, _given(child, "inputs")).astype("<f4").tobytes()


def _prepare(child: Child, seed: int) -> tuple[ModuleType, ModuleType]:
    """(the task's module, the candidate's): torch is seeded before either of them runs."""
    torch.set_num_threads(child.threads)
    torch.use_deterministic_algorithms(child.device == "cpu")
    torch.manual_seed(seed)
    name, text = child.options["task"]
    task = ModuleType("evolve_task")
    task.__file__ = name
    sys.modules[task.__name__] = task  # dataclasses and the like look their module up
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), task.__dict__)
    return task, child.module(child.options["file"])


def _budget(child: Child) -> SimpleNamespace:
    return SimpleNamespace(**child.options["budget"], device=child.device, threads=child.threads)


def _given(child: Child, table: str) -> Any:
    """The arrays of a table by name, or the one that was given bare. Each is a private copy."""
    found = {n.partition("/")[2]: array(at) for n, at in child.inputs.items() if n.partition("/")[0] == table}
    return found[BARE] if set(found) == {BARE} else found


def _state(returned: Any) -> dict[str, Tensor]:
    """What `fit` returned as tensors by name: it may return the trained module, or a state."""
    state = returned.state_dict() if isinstance(returned, nn.Module) else returned
    if not isinstance(state, Mapping) or not state:
        raise TypeError(f"fit returned {type(returned).__name__}; it must return the trained module, or tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(f"fit returned {type(value).__name__} under {name!r}; weights are tensors by name")
    return dict(state)


def _on_device(state: Mapping[str, Tensor], child: Child) -> dict[str, Tensor]:
    return {name: tensor.detach().to(child.device) for name, tensor in state.items()}


def _predicted(
    child: Child, task: ModuleType, module: ModuleType, weights: dict[str, Tensor], inputs: Any
) -> np.ndarray:
    """float32 (rows, *output_shape)."""
    with torch.no_grad():
        found = task.predict(module, weights, inputs)
    values = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
    rows = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    wanted = (rows, *child.options["output_shape"])
    if values.shape != wanted:
        raise ValueError(f"predict returned an array of {values.shape} for {rows} rows; it must return {wanted}")
    return values.astype("<f4")


if sys.byteorder != "little":  # predictions are little-endian and are written as the machine has them
    raise ImportError("big-endian machines are not supported")
