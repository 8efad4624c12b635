"""Image classification inside the sandbox: the entry functions `smoke`, `fit` and `predict`.

They run in the same process as the candidate's code, which can do anything to them: what they return is a claim. What
counts is decided outside, in `image_classification`.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from sandbox.child import Child
from sandbox.tasks.seeding import seed
from sandbox.tasks.state import array, foldable, serialised, shares_of, tell, watched
from sandbox.tasks.training.build import build, check_logits, loss_of, optimizer_of
from sandbox.tasks.training.images import View, mapped
from sandbox.tasks.training.loop import Training
from sandbox.tasks.training.recipe import Recipe

HEADER = struct.Struct("<4sII")
"""Of a fit's result: magic, rows of the curve, columns of the curve; then float32 rows, then safetensors."""
MAGIC = b"GEf1"
NOMINAL_STEPS = 1000
"""What the smoke stage tells `build_optimizer` where only the seconds of a training are known."""


def smoke(child: Child) -> bytes:
    """Builds the model and its optimizer, and takes one step on noise.

    Returns lines: those of `state.tell`, and `flops N` if they are asked for.
    """
    options = child.options
    count = _counter() if options["flops"] else None  # before any candidate code is there
    seed(0, child.device)
    module, model = build(child)
    view = View(options, torch.device("cpu"))
    shape = (min(8, options["batch_size"]), options["channels"], options["height"], options["width"])
    generator = torch.Generator().manual_seed(0)
    images = view(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
    labels = torch.arange(shape[0]) % options["num_classes"]
    optimizer, scheduler = optimizer_of(module, model, options["steps"] or NOMINAL_STEPS)
    recipe = Recipe(**options["recipe"])
    model.train()
    logits = model(module.augment(images, generator) if hasattr(module, "augment") else images)
    check_logits(logits, shape[0], options["num_classes"])
    loss_of(module, recipe.label_smoothing)(logits, labels).backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    model.eval()
    with torch.no_grad(), watched(child) as sizes:
        check_logits(model(images), shape[0], options["num_classes"])
    shares = shares_of(model, child)
    lines = tell(model.state_dict(), foldable(model, lambda: model(images)), shares, sizes)
    return lines + f"\nflops {count(model, images[:1])}".encode() if count else lines


def fit(child: Child) -> bytes:
    """Trains on the whole training set and returns the curve and the weights (see `HEADER`)."""
    options = child.options
    seed(options["training_seed"], child.device)
    module, model = build(child)
    device = _device(child)
    _place(model, device)
    images = mapped(child.inputs["images"]).to(device)
    labels = torch.from_numpy(array(child.inputs["labels"])).to(device)
    curve = Training(child, module, model, images, labels).run()
    return HEADER.pack(MAGIC, len(curve), 2) + np.asarray(curve, "<f4").tobytes() + serialised(model.state_dict())


def predict(child: Child) -> bytes:
    """The logits of the given images under the given weights: raw float32 (N, classes)."""
    from safetensors.torch import load

    options = child.options
    seed(0, child.device)
    _, model = build(child)
    with mmap.mmap(child.inputs["weights"], 0, access=mmap.ACCESS_READ) as data:
        model.load_state_dict(load(bytes(data)), strict=True)
    device = _device(child)
    _place(model, device)
    model.eval()
    view = View(options, device)
    images = mapped(child.inputs["images"])
    found = []
    size, count = options["batch_size"], len(images)
    with torch.no_grad():
        for start in range(0, count, size):
            # On a GPU every new size of a batch costs seconds: the last one is filled up with images from before.
            first = max(0, min(start, count - size)) if device.type == "cuda" else start
            batch = images[first : start + size].to(device)
            logits = model(view(batch))
            check_logits(logits, len(batch), options["num_classes"])
            found.append(logits.float()[start - first :])
    return torch.cat(found).cpu().numpy().astype("<f4").tobytes()


def _counter() -> Callable[[nn.Module, torch.Tensor], int]:
    """Counts the floating-point operations of a forward pass in eval mode, by torch's own formulas for matrix products,
    convolutions and attention; all else counts nothing."""
    from torch.utils.flop_counter import FlopCounterMode

    @torch.no_grad()
    def count(model: nn.Module, images: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            model(images)
        return int(counter.get_total_flops())

    return count


def _device(child: Child) -> torch.device:
    device = torch.device(child.device)
    if device.type == "cuda":
        # Not cudnn.benchmark: it takes ten seconds of every process, and what it chose was not faster.
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.allow_tf32 = True
    return device


def _place(model: nn.Module, device: torch.device) -> None:
    model.to(device)
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


if sys.byteorder != "little":  # the formats above are little-endian and are written as the machine has them
    raise ImportError("big-endian machines are not supported")
