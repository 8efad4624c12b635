"""Image classification inside the sandbox: the entry functions `smoke`, `fit` and `predict`.

They run in the same process as the candidate's code, which can do anything to them, so their results are claims. `evaluation`
checks the results outside.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from sandbox.inside.call import RunningCall
from sandbox.tasks.common import unsaved
from sandbox.tasks.common.seeding import seed
from sandbox.tasks.common.state import array, foldable, parameters_by_class, recorded_calls, serialise, smoke_result
from sandbox.tasks.image_classification.training.build import build, check_logits, loss_of, optimizer_of
from sandbox.tasks.image_classification.training.images import View, mapped
from sandbox.tasks.image_classification.training.loop import Training
from sandbox.tasks.image_classification.training.recipe import TrainingRecipe

HEADER = struct.Struct("<4sII")
"""Start of a fit's result: magic, rows of the curve, columns of the curve; then float32 rows, then safetensors."""
MAGIC = b"GEf1"
NOMINAL_STEPS = 1000
"""Number of steps that the smoke stage passes to `build_optimizer` if only the seconds of a training are known."""


def smoke(call: RunningCall) -> bytes:
    """Build the model and its optimizer, and take one step on noise.

    Return lines: those of `state.smoke_result`, and `flops N` if option `flops` is set.
    """
    options = call.options
    count = _counter() if options["flops"] else None  # before any candidate code is loaded
    seed(0, call.device)
    module, model = build(call)
    view = View(options, torch.device("cpu"))
    shape = (min(8, options["batch_size"]), options["channels"], options["height"], options["width"])
    generator = torch.Generator().manual_seed(0)
    images = view(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
    labels = torch.arange(shape[0]) % options["num_classes"]
    optimizer, scheduler = optimizer_of(module, model, options["steps"] or NOMINAL_STEPS)
    recipe = TrainingRecipe(**options["recipe"])
    model.train()
    logits = model(module.augment(images, generator) if hasattr(module, "augment") else images)
    check_logits(logits, shape[0], options["num_classes"])
    loss_of(module, recipe.label_smoothing)(logits, labels).backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    model.eval()
    with torch.no_grad():
        with recorded_calls(call) as calls:
            check_logits(model(images), shape[0], options["num_classes"])
        kept = unsaved.held(model, model.state_dict(), call)
        model(view(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)))
        beside = unsaved.count(kept, unsaved.held(model, model.state_dict(), call))
    shares = parameters_by_class(model, call)
    lines = smoke_result(model.state_dict(), foldable(model, lambda: model(images)), shares, calls, beside)
    return lines + f"\nflops {count(model, images[:1])}".encode() if count else lines


def fit(call: RunningCall) -> bytes:
    """Train on the whole training set; return the curve and the weights (see `HEADER`)."""
    options = call.options
    seed(options["training_seed"], call.device)
    module, model = build(call)
    device = _device(call)
    _place(model, device)
    images = mapped(call.inputs["images"]).to(device)
    labels = torch.from_numpy(array(call.inputs["labels"])).to(device)
    curve = Training(call, module, model, images, labels).run()
    return HEADER.pack(MAGIC, len(curve), 2) + np.asarray(curve, "<f4").tobytes() + serialise(model.state_dict())


def predict(call: RunningCall) -> bytes:
    """Return the logits of the given images with the given weights: raw float32 (N, classes)."""
    from safetensors.torch import load

    options = call.options
    seed(0, call.device)
    _, model = build(call)
    with mmap.mmap(call.inputs["weights"], 0, access=mmap.ACCESS_READ) as data:
        model.load_state_dict(load(bytes(data)), strict=True)
    device = _device(call)
    _place(model, device)
    model.eval()
    view = View(options, device)
    images = mapped(call.inputs["images"])
    found = []
    size, count = options["batch_size"], len(images)
    with torch.no_grad():
        for start in range(0, count, size):
            # On a GPU every new batch size costs seconds: the last batch is filled up with earlier images.
            first = max(0, min(start, count - size)) if device.type == "cuda" else start
            batch = images[first : start + size].to(device)
            logits = model(view(batch))
            check_logits(logits, len(batch), options["num_classes"])
            found.append(logits.float()[start - first :])
    return torch.cat(found).cpu().numpy().astype("<f4").tobytes()


def _counter() -> Callable[[nn.Module, torch.Tensor], int]:
    """Return a function that counts the floating-point operations of a forward pass by torch's formulas for matrix products,
    convolutions and attention; everything else counts as zero."""
    from torch.utils.flop_counter import FlopCounterMode

    @torch.no_grad()
    def count(model: nn.Module, images: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            model(images)
        return int(counter.get_total_flops())

    return count


def _device(call: RunningCall) -> torch.device:
    device = torch.device(call.device)
    if device.type == "cuda":
        # Not cudnn.benchmark: it takes ten seconds in every process, and its choices were not faster.
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.allow_tf32 = True
    return device


def _place(model: nn.Module, device: torch.device) -> None:
    model.to(device)
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


if sys.byteorder != "little":  # the formats above are little-endian and are written as the machine has them
    raise ImportError("big-endian machines are not supported")
