"""The training loop. The whole set stays on the device, every step is a few tensor operations; progress is printed at times."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from sandbox.inside.call import RunningCall
from sandbox.tasks.image_classification.training.augmentation import coloured, moved
from sandbox.tasks.image_classification.training.averaging import Average
from sandbox.tasks.image_classification.training.build import fuse, loss_of, optimizer_of
from sandbox.tasks.image_classification.training.graphs import BatchPass, DirectPass, GraphedPass, PassResult
from sandbox.tasks.image_classification.training.images import View
from sandbox.tasks.image_classification.training.recipe import TrainingRecipe
from sandbox.tasks.image_classification.training.schedules import rates_of

REPORT_SECONDS = 2.0
"""Longest time in seconds within an epoch without a line of progress."""
TIMED_STEPS = 30
"""Number of steps on a copy of the model, to estimate how many steps fit into a training of given seconds."""
TIMED_SHARE = 0.1
"""Share of the seconds that these steps may take."""
MARGIN = 0.95
"""Share of the remaining seconds that is planned for."""

Curve = list[tuple[float, float]]
"""(loss, accuracy) of each epoch."""


class Training:
    """One training of one model."""

    def __init__(self, call: RunningCall, module: ModuleType, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """`images`: uint8 (N, C, H, W), `labels`: int64 (N,), on the device; the model too."""
        self._started = time.monotonic()
        self._options: Mapping[str, Any] = call.options
        self._module, self._model = module, model
        self._images, self._labels = images, labels
        self._device = images.device
        self._batch_size: int = call.options["batch_size"]
        self._recipe = TrainingRecipe(**call.options["recipe"])
        self._view = View(call.options, self._device)
        self._loss_of = loss_of(module, self._recipe.label_smoothing)
        self._generator = torch.Generator(self._device).manual_seed(call.options["training_seed"])
        gpu = self._device.type == "cuda"
        self._bf16 = self._recipe.precision == "bf16" or (self._recipe.precision == "auto" and gpu)

    def run(self) -> Curve:
        """Train; the model's final weights are the result. Raises FloatingPointError when the printed loss is not finite."""
        seconds = self._options["seconds"]
        steps: int = self._options["steps"] or self._estimated_steps(seconds)
        optimizer, scheduler = optimizer_of(self._module, self._model, steps)
        rates = rates_of(optimizer, scheduler, self._recipe, steps)
        passes = self._passes(self._model, optimizer)
        average = Average(self._model, self._recipe.ema) if self._recipe.ema else None
        reporter = _Reporter(steps, -(-steps // self._steps_per_epoch()))
        curve: Curve = []
        self._model.train()
        taken = 0
        while taken < steps and not rates.ended:
            reporter.epoch = len(curve) + 1
            total, right, count = torch.zeros((), device=self._device), torch.zeros((), device=self._device), 0
            for rows in self._shuffled():
                if taken >= steps or (len(rows) < 2 and taken) or (seconds and self._elapsed() > seconds):
                    break  # a batch normalisation fails on a batch of one image
                loss, hits = passes(self._batch(rows), self._labels[rows])
                optimizer.step()
                rates.step()
                if average:
                    average.update()
                taken += 1
                count += len(rows)
                total += loss * len(rows)
                right += hits
                if reporter.due():
                    reporter.within(taken, float(total) / count, float(right) / count)
            if not count:
                break
            curve.append((float(total) / count, float(right) / count))
            reporter.after(taken, *curve[-1])
            rates.epoch(curve[-1][0])
            if seconds and self._elapsed() > seconds:
                break
        if average:
            average.load()
        return curve

    def _shuffled(self) -> tuple[Tensor, ...]:
        order = torch.randperm(len(self._images), generator=self._generator, device=self._device)
        batches = torch.split(order, self._batch_size)
        return batches[:-1] if self._leaves_out(len(batches[-1])) and len(batches) > 1 else batches

    def _leaves_out(self, count: int) -> bool:
        return self._recipe.whole_batches and count < self._batch_size

    def _batch(self, rows: Tensor) -> Tensor:
        """Return the model's input for these images; the seed's `augment` replaces the recipe's augmentation."""
        images = self._images[rows]
        if hasattr(self._module, "augment"):
            return self._view.placed(self._module.augment(self._view(images), self._generator))
        if not self._recipe.augments:
            return self._view(images)
        return self._view.placed(self._augmented(images))

    def _augmented(self, images: Tensor) -> Tensor:
        """Return the images after the recipe's augmentation, resized before it or after it."""
        view, recipe, last = self._view, self._recipe, self._recipe.resize == "last"
        shown = view.stored(images) if last else view.scaled(images)
        changed = moved(view.normalised(coloured(shown, recipe, self._generator)), recipe, self._generator)
        return view.resized(changed) if last else changed

    def _pass(self, model: nn.Module, images: Tensor, labels: Tensor) -> PassResult:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            logits = model(images)
        logits = logits.float() if self._bf16 else logits
        loss = self._loss_of(logits, labels)
        loss.backward()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()

    def _passes(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> BatchPass:
        def work(images: Tensor, labels: Tensor) -> PassResult:
            return self._pass(model, images, labels)

        if self._device.type != "cuda":
            return DirectPass(model, optimizer, work)
        fuse(optimizer)
        if self._recipe.cuda_graphs:
            return GraphedPass(model, optimizer, work, self._batch_size)
        return DirectPass(model, optimizer, work)

    def _estimated_steps(self, seconds: float) -> int:
        """Return how many steps fit into the time, timed on a copy of the model: a schedule needs to know its end."""
        model = copy.deepcopy(self._model).train()
        optimizer, _ = optimizer_of(self._module, model, TIMED_STEPS)
        passes = self._passes(model, optimizer)
        state = self._generator.get_state()
        marks: list[float] = []
        while len(marks) < TIMED_STEPS and self._elapsed() < TIMED_SHARE * seconds:
            for rows in self._shuffled()[: TIMED_STEPS - len(marks)]:
                passes(self._batch(rows), self._labels[rows])
                optimizer.step()
                self._settle()
                marks.append(time.monotonic())
                if self._elapsed() > TIMED_SHARE * seconds:
                    break
        self._generator.set_state(state)
        late = marks[len(marks) // 2 :]  # in the first steps libraries choose their kernels
        each = (late[-1] - late[0]) / (len(late) - 1) if len(late) > 1 else self._elapsed()
        return max(1, int(MARGIN * (seconds - self._elapsed()) / max(each, 1e-6)))

    def _settle(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def _steps_per_epoch(self) -> int:
        full, rest = divmod(len(self._images), self._batch_size)
        return full + (rest > 1 and not (full and self._leaves_out(rest)))

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


class _Reporter:
    """Prints progress; `common.progress` parses it. Raises FloatingPointError if a printed loss is not finite."""

    def __init__(self, steps: int, epochs: int) -> None:
        self._steps, self._epochs = steps, epochs
        self.epoch = 0
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last > REPORT_SECONDS

    def within(self, taken: int, loss: float, accuracy: float) -> None:
        self._print(f", step {taken}/{self._steps}", loss, accuracy)

    def after(self, taken: int, loss: float, accuracy: float) -> None:
        self._print(f", step {taken}/{self._steps}, done", loss, accuracy)

    def _print(self, where: str, loss: float, accuracy: float) -> None:
        self._last = time.monotonic()
        print(f"epoch {self.epoch}/{self._epochs}{where}: loss {loss:.4f}, training accuracy {accuracy:.4f}", flush=True)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss} in epoch {self.epoch}")
