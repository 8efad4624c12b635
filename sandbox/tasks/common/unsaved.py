"""Counts, inside the sandbox, the tensors that a program keeps beside the saved state of its model; a claim, as all here is.

They are looked for in the attributes of the model's modules (buffers that are not persistent, tensors, arrays, also in lists and
dicts), in the program's classes and in its modules. What changes with the input of the model is an activation and not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator, Mapping
from types import CellType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sandbox.inside.call import RunningCall, module_name
from sandbox.tasks.common.weights import information

DEPTH = 4
"""How deep containers and objects are looked into."""
MANY = 10_000
"""Largest number of entries of a container that is looked into."""
_SMALL = 16
"""Tensors of fewer elements are constants of the program, such as the mean of each channel."""
_KINDS = {torch.float64: "F64", torch.complex64: "C64", torch.int64: "I64", torch.int32: "I32", torch.int16: "I16"}

Found = dict[int, tuple[int, Any, Any]]
"""Address of the memory -> (parameters, copy of the values, the tensor itself)."""


def held(model: nn.Module | None, state: Mapping[str, Tensor], call: RunningCall) -> Found:
    """Return the tensors that are held beside the state, with their values now."""
    saved = {tensor.data_ptr() for tensor in state.values()}
    found: Found = {}
    for thing in _things(model, call):
        tensor = torch.from_numpy(thing) if isinstance(thing, np.ndarray) and thing.dtype.kind in "fiub" else thing
        if isinstance(tensor, Tensor) and tensor.numel() >= _SMALL and _is_kept(tensor, saved):
            kind = _KINDS.get(tensor.dtype, "U8" if not tensor.is_floating_point() else "F32")
            found[tensor.data_ptr()] = information(kind, tensor.numel()), tensor.detach().clone(), tensor
    return found


def _is_kept(tensor: Tensor, saved: Container[int]) -> bool:
    """Is it neither saved nor computed in a step of training?"""
    return tensor.grad_fn is None and tensor.layout == torch.strided and tensor.data_ptr() not in saved


def count(before: Found, after: Found) -> int:
    """Return the parameters of the tensors that two calls with different inputs have left as they were."""
    return sum(
        size
        for address, (size, values, _) in after.items()
        if address in before and before[address][1].shape == values.shape and torch.equal(before[address][1], values)
    )


def _things(model: nn.Module | None, call: RunningCall) -> Iterator[Any]:
    own = {module_name(path) for path in call.sources}
    seen: set[int] = set()
    for module in model.modules() if model is not None else ():
        yield from _inside({k: v for k, v in vars(module).items() if k not in ("_parameters", "_modules")}, seen, DEPTH)
        for kind in type(module).__mro__:
            if kind.__module__ in own:
                yield from _inside(dict(vars(kind)), seen, DEPTH)
    for name in own & sys.modules.keys():
        yield from _inside(dict(vars(sys.modules[name])), seen, DEPTH)


def _inside(thing: Any, seen: set[int], depth: int) -> Iterator[Any]:
    if isinstance(thing, Tensor | np.ndarray):
        yield thing
        return
    if id(thing) in seen or depth < 0 or isinstance(thing, str | bytes | int | float | type | type(sys)):
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
        return
    children: Any = ()
    if isinstance(thing, FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
        children = [*cells, *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    elif isinstance(thing, dict):
        children = list(thing.values())
    elif isinstance(thing, list | tuple | set | frozenset):
        children = list(thing)
    elif hasattr(thing, "__dict__"):
        children = list(vars(thing).values())
    for child in children[:MANY]:
        yield from _inside(child, seen, depth - 1)


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
