"""Gets the candidate's model, optimizer and loss, and checks their types."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sandbox.inside.call import RunningCall

_CLASSES = ("num_classes", "n_classes", "classes", "nclass", "nb_classes", "num_class", "n_class")
_CHANNELS = ("in_channels", "in_chans", "in_ch", "channels", "num_channels", "n_channels", "input_channels", "img_channels")
"""Names under which models take the number of classes, and of channels."""
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def build(call: RunningCall) -> tuple[ModuleType, nn.Module]:
    """Import the candidate and build its model on the CPU; return (module, model)."""
    torch.set_num_threads(call.threads)
    torch.use_deterministic_algorithms(call.device == "cpu")
    module = call.module(call.options["file"])
    name = call.options["model"]
    make = getattr(module, name, None)
    if not callable(make):
        wanted = "function build_model(num_classes, in_channels)" if name == "build_model" else f"function or class {name}"
        raise AttributeError(f"{call.options['file']} has no {wanted}")
    model = _made(make, name, call.options["num_classes"], call.options["channels"])
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} returned {type(model).__name__}, not a torch.nn.Module")
    if not model.state_dict():
        raise ValueError(f"the model that {name} returned has no parameters")
    return module, model


def _made(make: Callable[..., Any], name: str, classes: int, channels: int) -> Any:
    """Call what makes the model with as many of both numbers as it takes, by their names where it names them."""
    try:
        signature = inspect.signature(make)
    except ValueError:  # made by C code
        return make(classes, channels)
    known = {**dict.fromkeys(_CLASSES, classes), **dict.fromkeys(_CHANNELS, channels)}
    named = {parameter: known[parameter] for parameter in signature.parameters if parameter in known}
    if name == "build_model" and len(named) < 2:
        parameters = signature.parameters.values()
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        required = [p for p in positional if p.default is p.empty]
        if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(required) >= 2:
            return make(classes, channels)
        if len(required) == 1 and required[0].name not in named:
            return make(classes)
    return make(**named)


def optimizer_of(module: ModuleType, model: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """Return (optimizer, scheduler or None) of the seed's `build_optimizer(model, steps)`; without one, AdamW with one cycle."""
    if hasattr(module, "build_optimizer"):
        built = module.build_optimizer(model, steps)
        optimizer, scheduler = built if isinstance(built, tuple) else (built, None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"build_optimizer returned {type(optimizer).__name__}, not a torch.optim.Optimizer")
        return optimizer, scheduler
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """On GPUs, use one kernel for all parameters if the optimizer has one and did not choose otherwise."""
    if type(optimizer) in _FUSED:
        for group in optimizer.param_groups:
            floats = all(p.is_cuda and p.is_floating_point() for p in group["params"])
            if floats and group.get("fused") is None and group.get("foreach") is None and not group.get("differentiable"):
                group["fused"] = True


def loss_of(module: ModuleType, label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the seed's `loss(logits, labels)`; without one, cross-entropy."""
    if hasattr(module, "loss"):
        return module.loss  # type: ignore[no-any-return]
    return partial(F.cross_entropy, label_smoothing=label_smoothing) if label_smoothing else F.cross_entropy


def check_logits(logits: Any, rows: int, classes: int) -> None:
    """Raise ValueError unless the logits have the shape (rows, classes)."""
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (rows, classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        other = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == rows
        remedy = f": the data has {classes} classes, let the model take their number as `num_classes`" if other else ""
        raise ValueError(f"the model returned {got} for a batch of {rows}; it must return ({rows}, {classes}){remedy}")
