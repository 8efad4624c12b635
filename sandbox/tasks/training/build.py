"""The candidate's parts: its model, its optimizer, its loss, each checked for its kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sandbox.child import Child

_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def build(child: Child) -> tuple[ModuleType, nn.Module]:
    """The candidate's module and its model, on the CPU."""
    torch.set_num_threads(child.threads)
    torch.use_deterministic_algorithms(child.device == "cpu")
    module = child.module(child.options["file"])
    make = getattr(module, "build_model", None)
    if not callable(make):
        raise AttributeError(f"{child.options['file']} has no function build_model(num_classes, in_channels)")
    model = make(child.options["num_classes"], child.options["channels"])
    if not isinstance(model, nn.Module):
        raise TypeError(f"build_model returned {type(model).__name__}, not a torch.nn.Module")
    if not model.state_dict():
        raise ValueError("the model that build_model returned has no parameters")
    return module, model


def optimizer_of(module: ModuleType, model: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """The seed's `build_optimizer(model, steps)`: an optimizer, or (optimizer, scheduler); else AdamW with one cycle."""
    if hasattr(module, "build_optimizer"):
        built = module.build_optimizer(model, steps)
        optimizer, scheduler = built if isinstance(built, tuple) else (built, None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"build_optimizer returned {type(optimizer).__name__}, not a torch.optim.Optimizer")
        return optimizer, scheduler
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """One kernel for all parameters, where the optimizer has one and did not choose otherwise. For GPUs."""
    if type(optimizer) in _FUSED:
        for group in optimizer.param_groups:
            floats = all(p.is_cuda and p.is_floating_point() for p in group["params"])
            if floats and group.get("fused") is None and group.get("foreach") is None and not group.get("differentiable"):
                group["fused"] = True


def loss_of(module: ModuleType, label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    if hasattr(module, "loss"):
        return module.loss  # type: ignore[no-any-return]
    return partial(F.cross_entropy, label_smoothing=label_smoothing) if label_smoothing else F.cross_entropy


def check_logits(logits: Any, rows: int, classes: int) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (rows, classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model returned {got} for a batch of {rows}; it must return ({rows}, {classes})")
