"""Image classification inside the sandbox: the entry functions `smoke`, `fit` and `predict`.

They run in the same process as the candidate's code, which can do anything to them: what they return is a claim. What
counts is decided outside, in `image_classification`.
"""

from __future__ import annotations

import math
import mmap
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sandbox.child import Child, module_name
from sandbox.tasks.weights import describe, fold

HEADER = struct.Struct("<4sII")
"""Of a fit's result: magic, rows of the curve, columns of the curve; then float32 rows, then safetensors."""
MAGIC = b"GEf1"
MAX_SIZES = 12
"""How many sizes are told of each class."""

_BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def smoke(child: Child) -> bytes:
    """Builds the model and its optimizer, and takes one step on noise.

    Returns lines: those of a `Layout`, `class COUNT NAME`, the parameters that the instances of each class of the
    candidate hold outside of each other, and `size NAME 12x16x16 ...`, what their calls return for one image.
    """
    options = child.options
    torch.manual_seed(0)
    module, model = _build(child)
    shape = (min(8, options["batch_size"]), options["channels"], options["height"], options["width"])
    generator = torch.Generator().manual_seed(0)
    images = _normalised(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), options)
    labels = torch.arange(shape[0]) % options["num_classes"]
    optimizer, scheduler = _optimizer(module, model, options["steps"] or 1)
    model.train()
    logits = model(_augmented(module, images, generator))
    _check_logits(logits, shape[0], options["num_classes"])
    _loss(module)(logits, labels).backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    model.eval()
    with torch.no_grad(), _watched(model, child) as sizes:
        _check_logits(model(images), shape[0], options["num_classes"])
    shares = _shares(model, child)
    lines = [*describe(_weights(model)), *(f"class {count} {name}" for name, count in shares.items())]
    lines += [f"size {name} {' '.join(found)}" for name, found in sizes.items()]
    lines += [f"norm {norm.eps!r} {name}" for name, norm in _foldable(model, images).items()]
    return "\n".join(lines).encode()


def fit(child: Child) -> bytes:
    """Trains on the whole training set and returns the curve and the weights (see `HEADER`)."""
    options = child.options
    torch.manual_seed(options["training_seed"])
    module, model = _build(child)
    device = torch.device(child.device)
    model.to(device)
    images = torch.from_numpy(_array(child.inputs["images"])).to(device)
    labels = torch.from_numpy(_array(child.inputs["labels"])).to(device)
    steps = options["steps"]
    optimizer, scheduler = _optimizer(module, model, steps)
    loss_of = _loss(module)
    generator = torch.Generator(device).manual_seed(options["training_seed"])
    curve: list[tuple[float, float]] = []
    model.train()
    taken, epoch = 0, 0
    while taken < steps:
        epoch += 1
        total, right, seen = torch.zeros((), device=device), torch.zeros((), device=device), 0
        order = torch.randperm(len(images), generator=generator, device=device)
        for rows in torch.split(order, options["batch_size"]):
            if taken >= steps or (len(rows) < 2 and taken):
                break  # one image alone cannot pass a batch normalisation
            batch = _augmented(module, _normalised(images[rows], options), generator)
            logits = model(batch)
            loss = loss_of(logits, labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            taken += 1
            seen += len(rows)
            total += loss.detach() * len(rows)
            right += (logits.detach().argmax(1) == labels[rows]).sum()
        curve.append((float(total) / seen, float(right) / seen))
        print(f"epoch {epoch}: loss {curve[-1][0]:.4f}, training accuracy {curve[-1][1]:.4f}", flush=True)
        if not math.isfinite(curve[-1][0]):
            raise FloatingPointError(f"the training loss became {curve[-1][0]} in epoch {epoch}")
    return HEADER.pack(MAGIC, len(curve), 2) + np.asarray(curve, "<f4").tobytes() + _weights(model)


def predict(child: Child) -> bytes:
    """The logits of the given images under the given weights: raw float32 (N, classes)."""
    from safetensors.torch import load

    options = child.options
    torch.manual_seed(0)
    _, model = _build(child)
    with mmap.mmap(child.inputs["weights"], 0, access=mmap.ACCESS_READ) as data:
        model.load_state_dict(load(bytes(data)), strict=True)
    device = torch.device(child.device)
    model.to(device).eval()
    images = _array(child.inputs["images"])
    found = []
    with torch.no_grad():
        for start in range(0, len(images), options["batch_size"]):
            batch = torch.from_numpy(images[start : start + options["batch_size"]]).to(device)
            logits = model(_normalised(batch, options))
            _check_logits(logits, len(batch), options["num_classes"])
            found.append(logits.float().cpu().numpy())
    return np.concatenate(found).astype("<f4").tobytes()


def _build(child: Child) -> tuple[ModuleType, nn.Module]:
    torch.set_num_threads(child.threads)
    torch.use_deterministic_algorithms(child.device == "cpu")
    module = child.module(child.options["file"])
    build = getattr(module, "build_model", None)
    if not callable(build):
        raise AttributeError(f"{child.options['file']} has no function build_model(num_classes, in_channels)")
    model = build(child.options["num_classes"], child.options["channels"])
    if not isinstance(model, nn.Module):
        raise TypeError(f"build_model returned {type(model).__name__}, not a torch.nn.Module")
    if not model.state_dict():
        raise ValueError("the model that build_model returned has no parameters")
    return module, model


def _optimizer(module: ModuleType, model: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """The seed's `build_optimizer(model, steps)`: an optimizer, or (optimizer, scheduler); else AdamW with one cycle."""
    if hasattr(module, "build_optimizer"):
        built = module.build_optimizer(model, steps)
        optimizer, scheduler = built if isinstance(built, tuple) else (built, None)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"build_optimizer returned {type(optimizer).__name__}, not a torch.optim.Optimizer")
        return optimizer, scheduler
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)


def _loss(module: ModuleType) -> Any:
    return getattr(module, "loss", F.cross_entropy)


def _augmented(module: ModuleType, images: Tensor, generator: torch.Generator) -> Tensor:
    """Only if the seed has `augment(images, generator)`."""
    return module.augment(images, generator) if hasattr(module, "augment") else images


def _normalised(images: Tensor, options: Any) -> Tensor:
    """uint8 (N, C, H, W) -> float32 with zero mean and unit deviation of each channel over the training set."""
    mean = torch.tensor(options["mean"], device=images.device)[:, None, None]
    std = torch.tensor(options["std"], device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / std


def _check_logits(logits: Any, rows: int, classes: int) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (rows, classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model returned {got} for a batch of {rows}; it must return ({rows}, {classes})")


def _array(descriptor: int) -> np.ndarray:
    """A private copy of a `.npy` file, so that nothing done to it can reach another process."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))


def _weights(model: nn.Module) -> bytes:
    """The state as safetensors; tensors that share memory are each written out."""
    from safetensors.torch import save

    return bytes(save({name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()}))


def _foldable(model: nn.Module, images: Tensor) -> dict[str, _BatchNorm]:
    """The normalisations whose statistics can be folded into weight and bias without changing any logit; they are."""
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and all(module.state_dict().get(part) is not None for part in ("weight", "bias", "running_mean", "running_var"))
    }
    if _fold_all(model, images, norms.values()):
        return norms
    # Some model looks at a statistic, or shares a weight: most can be folded all the same.
    return {name: norm for name, norm in norms.items() if _fold_all(model, images, [norm])}


@torch.no_grad()
def _fold_all(model: nn.Module, images: Tensor, norms: Iterable[_BatchNorm]) -> bool:
    """False, and nothing is changed, if it would change the logits."""
    before = model(images)
    kept = [(norm, {name: t.clone() for name, t in norm.state_dict().items()}) for norm in norms]
    for norm, state in kept:
        parts = (state[part].numpy() for part in ("weight", "bias", "running_mean", "running_var"))
        weight, bias = fold(norm.eps, *parts)
        new = {"weight": weight, "bias": bias, "running_mean": np.zeros_like(bias), "running_var": np.ones_like(bias)}
        norm.load_state_dict({**state, **{name: torch.from_numpy(value) for name, value in new.items()}})
    if bool((model(images) - before).abs().max() <= 1e-3 * before.std()):  # NaN: it cannot be said
        return True
    for norm, state in kept:
        norm.load_state_dict(state)
    return False


def _shares(model: nn.Module, child: Child) -> dict[str, int]:
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
def _watched(model: nn.Module, child: Child) -> Iterator[dict[str, list[str]]]:
    """By class of the candidate, what its instances return in the passes that follow, each size once in a row."""
    own = {module_name(path) for path in child.sources}
    sizes: dict[str, list[str]] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim > 1:
            found = sizes.setdefault(type(module).__name__, [])
            size = "x".join(map(str, output.shape[1:]))
            if len(found) < MAX_SIZES and found[-1:] != [size]:
                found.append(size)

    hooks = [module.register_forward_hook(note) for module in model.modules() if type(module).__module__ in own]
    yield sizes
    for hook in hooks:
        hook.remove()


if sys.byteorder != "little":  # the formats above are little-endian and are written as the machine has them
    raise ImportError("big-endian machines are not supported")
