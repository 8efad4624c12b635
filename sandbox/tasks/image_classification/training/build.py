"""Gets the candidate's model, optimizer and loss, and checks their types."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sandbox.inside.call import RunningCall

_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def build(call: RunningCall) -> tuple[ModuleType, nn.Module]:
    """Import the candidate and build its model on the CPU; return (module, model)."""
    torch.set_num_threads(call.threads)
    torch.use_deterministic_algorithms(call.device == "cpu")
    module = call.module(call.options["file"])
    make = getattr(module, "build_model", None)
    if not callable(make):
        raise AttributeError(f"{call.options['file']} has no function build_model(num_classes, in_channels)")
    model = make(call.options["num_classes"], call.options["channels"])
    if not isinstance(model, nn.Module):
        raise TypeError(f"build_model returned {type(model).__name__}, not a torch.nn.Module")
    if not model.state_dict():
        raise ValueError("the model that build_model returned has no parameters")
    return module, model


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
        raise ValueError(f"the model returned {got} for a batch of {rows}; it must return ({rows}, {classes})")
