"""The sentences about an image classification task in prompts. Each must be true."""

from __future__ import annotations

from sandbox.data.dataset import Dataset
from sandbox.tasks.common.literals import COUNTED
from sandbox.tasks.image_classification.settings import ImageSettings


def facts(s: ImageSettings, d: Dataset) -> dict[str, str]:
    """Label -> sentence."""
    return {
        "Data": _data(d),
        "Input": _input(s, d),
        "Training": _training(s, d),
        "Optimizer": _optimizer(s),
        "Augmentation": (
            "`augment(images, generator)` turns a normalised training batch into one of the same shape. "
            f"Default: {s.recipe.augmentation()}."
        ),
        "Loss": (
            "`loss(logits, labels)`, in training only. Default: cross-entropy"
            + (f" with label smoothing {s.recipe.label_smoothing:g}." if s.recipe.label_smoothing else ".")
        ),
        "May be overridden": (
            f"these three functions (a rewrite may bring one along) and {_maker(s)}. "
            f"Fixed: data, splits, normalisation, batch size, {_fixed_length(s)}."
        ),
        "Limits": (
            f"{s.seconds:g} s and {s.memory / 2**30:.3g} GiB for one training (its fit); torch and the standard "
            "library only; no files, no network, no processes."
        ),
        "Stages": (
            "smoke (one step on noise), fit (the training), predict (images in several orders and batches: each must be "
            "judged by itself; once more with its weights shuffled, which must be no better than guessing)."
        ),
        "Score": " ".join([_accuracy(d), _PARAMETERS, *(text for name, text in _more(s).items() if name in s.wanted)]),
    }


def _data(d: Dataset) -> str:
    per_class = [int((d.targets("train") == label).sum()) for label in range(d.num_classes)]
    fewest, most = min(per_class), max(per_class)
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    notes = "".join(f"; {note}" for note in d.notes)
    return (
        f"{d.about}; {d.sizes['train']:,} to train on, {each} of each class, "
        f"and {d.sizes['validation']:,} others (validation) to measure accuracy on{notes}."
    )


def _input(s: ImageSettings, d: Dataset) -> str:
    height, width = s.input_size or (d.height, d.width)
    resized = ""
    if (height, width) != (d.height, d.width):
        resized = f", resized bilinearly from {d.height} x {d.width}"
    return (
        f"float32 (N, {d.channels}, {height}, {width}): pixels scaled to 0..1{resized}, then normalised by the "
        f"training images' mean {_channels(d.mean)} and deviation {_channels(d.std)}."
    )


def _training(s: ImageSettings, d: Dataset) -> str:
    steps, batches = s.all_steps(d), f"shuffled batches of {s.batch_size}"
    if s.train_seconds:
        length = f"{s.train_seconds:g} s with {batches}, as many optimizer steps as that allows: a faster program gets more"
    elif s.epochs:
        length = f"{s.epochs} epochs of {batches}, which is {steps} optimizer steps"
    else:
        length = f"{steps} optimizer steps with {batches}, which is {steps * s.batch_size / d.sizes['train']:.3g} epochs"
    if s.recipe.stop_below and s.recipe.schedule == "plateau":
        length += " at most"
    precision = {"auto": "float32 (bfloat16 autocast on a GPU)", "float32": "float32", "bf16": "bfloat16 autocast"}
    ending = "No early stopping: "
    if s.early_stop:
        ending = "A training that has learned nothing after a third is stopped; else "
    counted = (
        f"a moving average of the weights (decay {s.recipe.ema:g}) counts"
        if s.recipe.ema
        else ("the weights after the last step count")
    )
    return f"from scratch, {precision[s.recipe.precision]}, {length}. {ending}{counted}."


def _optimizer(s: ImageSettings) -> str:
    if rates := s.recipe.rates():
        return (
            "`build_optimizer(model, steps)` returns an optimizer; the schedule is fixed and starts from each parameter "
            f"group's rate: {rates}. A scheduler that it returns too is not used. Default: AdamW, lr 3e-3, weight decay 1e-2."
        )
    return (
        "`build_optimizer(model, steps)` returns an optimizer or (optimizer, scheduler); `scheduler.step()` "
        "follows every optimizer step. Default: AdamW, lr 3e-3, weight decay 1e-2, one cycle."
    )


def _maker(s: ImageSettings) -> str:
    own = f"`{s.model}`, which makes the model for the numbers of classes and channels that it names as parameters"
    return "`build_model(num_classes, in_channels)`" if s.model == "build_model" else own


def _fixed_length(s: ImageSettings) -> str:
    length = "time of a training" if s.train_seconds else "number of steps"
    return length if s.recipe.schedule == "seed" else f"{length}, schedule"


def _accuracy(d: Dataset) -> str:
    return (
        "accuracy is the share of validation images whose largest logit is the right class, in eval mode; one "
        f"image is {1 / d.sizes['validation']:.2g}."
    )


_PARAMETERS = COUNTED + "."


def _more(s: ImageSettings) -> dict[str, str]:
    """Return sentences for the quantities that are measured only if they are wanted."""
    return {
        "flops": (
            "flops is the floating-point operations of a forward pass for one image (2 for each multiply-add): matrix "
            "products, convolutions and attention by torch's formulas, nothing else; exact, without noise; self-reported."
        ),
        "latency": (
            f"latency is milliseconds for each image in eval mode, in batches of {s.batch_size}, by a clock outside of the "
            "program, to two digits; differences below a tenth may be noise."
        ),
        "memory": "memory is the largest private memory of the training process in MiB, without the data, to two digits.",
        "train_time": (
            "train_time is the wall time of the training in seconds, to two digits; differences below a tenth may be noise."
        ),
    }


def _channels(values: tuple[float, ...]) -> str:
    """Return `0.3068`, or `(0.4914, 0.4822, 0.4465)` for several channels."""
    shown = ", ".join(f"{value:.4g}" for value in values)
    return f"({shown})" if len(values) > 1 else shown
