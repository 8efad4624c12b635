"""A seed's own task inside the sandbox: the entry functions `smoke`, `fit` and `predict` around those of its `task.py`.

They run in the same process as the candidate's code, which can do anything to them, so their results are claims. `task` checks
the results outside.
"""

from __future__ import annotations

import io
import linecache
import mmap
import os
import sys
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sandbox.inside.call import RunningCall
from sandbox.tasks.common import unsaved
from sandbox.tasks.common.state import array, foldable, parameters_by_class, recorded_calls, serialise, smoke_result
from sandbox.tasks.own.splits import BARE, place

_CODE = (".py", ".pyc", ".so", ".pyi", ".pth")
"""Ends of the names of files that an import reads."""


def smoke(call: RunningCall) -> bytes:
    """Train for one step on stand-in data and predict; return the lines of `state.smoke_result`."""
    task, module = _prepare(call, seed=0)
    train, inputs = _given(call, "train"), _given(call, "inputs")
    returned = task.fit(module, train, _budget(call), 0)
    state = _state(returned)
    with torch.no_grad(), recorded_calls(call) as calls:
        _predicted(call, task, module, _on_device(state, call), inputs)
    norms, shares = {}, {}
    kept = unsaved.held(returned if isinstance(returned, nn.Module) else None, _state(returned), call)
    beside = unsaved.count(kept, kept)
    if isinstance(returned, nn.Module):
        model = returned.cpu().eval()
        shares = parameters_by_class(model, call)

        def outcome() -> Tensor:
            return torch.from_numpy(_predicted(call, task, module, _on_device(_state(model), call), inputs))

        norms = foldable(model, outcome)
    return smoke_result(state, norms, shares, calls, beside)


def fit(call: RunningCall) -> bytes:
    """Train; return the weights as safetensors."""
    seed = call.options["training_seed"]
    task, module = _prepare(call, seed)
    return serialise(_state(task.fit(module, _given(call, "train"), _budget(call), seed)))


def predict(call: RunningCall) -> bytes:
    """Return predictions for the given rows with the given weights: raw float32 (rows, *output_shape)."""
    from safetensors.torch import load

    task, module = _prepare(call, seed=0)
    with mmap.mmap(call.inputs["weights"], 0, access=mmap.ACCESS_READ) as data:
        weights = _on_device(load(bytes(data)), call)
    return _predicted(call, task, module, weights, _given(call, "inputs")).astype("<f4").tobytes()


def try_data(call: RunningCall) -> bytes:
    """For authors: call `data()` of the whole file in here; return the files that it has read, a line each.

    It runs without a candidate. Raises what `data` raises, which is as it should be.
    """
    files: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            files.append(os.fsdecode(arguments[0]))

    task = _task(call)
    sys.addaudithook(note)
    task.data()
    return "\n".join(name for name in files if not name.endswith(_CODE) and not name.startswith("/proc/")).encode()


def _prepare(call: RunningCall, seed: int) -> tuple[ModuleType, ModuleType]:
    """Return (the task's module, the candidate's module). torch is seeded before either of them runs."""
    torch.set_num_threads(call.threads)
    torch.use_deterministic_algorithms(call.device == "cpu")
    torch.manual_seed(seed)
    return _task(call), call.module(call.options["file"])


def _task(call: RunningCall) -> ModuleType:
    """Run the text of the task's file that was handed over; return it as a module."""
    name, text = call.options["task"]
    task = ModuleType("evolve_task")
    task.__file__ = name
    sys.modules[task.__name__] = task  # dataclasses and others look up their module
    linecache.cache[name] = (len(text), None, io.StringIO(text).readlines(), name)
    exec(compile(text, name, "exec"), task.__dict__)
    return task


def _budget(call: RunningCall) -> SimpleNamespace:
    return SimpleNamespace(**call.options["budget"], device=call.device, threads=call.threads)


def _given(call: RunningCall, table: str) -> Any:
    """Return the arrays of a table by name, or as the tuple or the array that was given instead. Each is a private copy."""
    found = {n.partition("/")[2]: array(at) for n, at in call.inputs.items() if n.partition("/")[0] == table}
    if set(found) == {BARE}:
        return found[BARE]
    places = [place(number) for number in range(len(found))]
    return tuple(found[name] for name in places) if found and set(found) == set(places) else found


def _state(returned: Any) -> dict[str, Tensor]:
    """Return the result of `fit` as tensors by name; `fit` may return the trained module or a state. Raises TypeError."""
    state = returned.state_dict() if isinstance(returned, nn.Module) else returned
    if not isinstance(state, Mapping) or not state:
        raise TypeError(f"fit returned {type(returned).__name__}; it must return the trained module, or tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(f"fit returned {type(value).__name__} under {name!r}; weights are tensors by name")
    return dict(state)


def _on_device(state: Mapping[str, Tensor], call: RunningCall) -> dict[str, Tensor]:
    return {name: tensor.detach().to(call.device) for name, tensor in state.items()}


def _predicted(call: RunningCall, task: ModuleType, module: ModuleType, weights: dict[str, Tensor], inputs: Any) -> np.ndarray:
    """Return the result of `predict` as float32 (rows, *output_shape). Raises ValueError."""
    with torch.no_grad():
        found = task.predict(module, weights, inputs)
    values = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
    rows = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0] if isinstance(inputs, tuple) else inputs)
    wanted = (rows, *call.options["output_shape"])
    if values.shape != wanted:
        raise ValueError(f"predict returned an array of {values.shape} for {rows} rows; it must return {wanted}")
    return values.astype("<f4")


if sys.byteorder != "little":  # predictions are little-endian and are written as the machine has them
    raise ImportError("big-endian machines are not supported")
