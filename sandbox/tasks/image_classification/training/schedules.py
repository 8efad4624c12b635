"""Learning rates during a training: from the seed's own scheduler, or from a schedule that the configuration fixes."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch

from sandbox.tasks.image_classification.training.recipe import TrainingRecipe


class Rates(Protocol):
    """Sets the learning rates of an optimizer."""

    ended: bool
    """True when the training should end."""

    def step(self) -> None:
        """Call it after every optimizer step."""
        ...

    def epoch(self, loss: float) -> None:
        """Call it after every epoch, with its mean training loss."""
        ...


def rates_of(optimizer: torch.optim.Optimizer, scheduler: Any, recipe: TrainingRecipe, steps: int) -> Rates:
    """Return the rates of a recipe. `scheduler`: what the seed's `build_optimizer` returned with its optimizer, if anything."""
    return SeedSchedule(scheduler) if recipe.schedule == "seed" else FixedSchedule(optimizer, recipe, steps)


class SeedSchedule:
    """The seed's scheduler, stepped after every batch."""

    ended = False

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def step(self) -> None:
        if self._scheduler is not None:
            self._scheduler.step()

    def epoch(self, loss: float) -> None:
        """Do nothing: the seed's scheduler does not use losses."""


class FixedSchedule:
    """A linear rise, then the schedule of the recipe, starting from the rates of the optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: TrainingRecipe, steps: int) -> None:
        self._groups = optimizer.param_groups
        self._peaks = [_peak(group) for group in self._groups]
        self._recipe, self._steps = recipe, steps
        self._taken, self._share = 0, 1.0
        self._best, self._stale = math.inf, 0
        self.ended = False
        self._set()

    def step(self) -> None:
        self._taken += 1
        self._set()

    def epoch(self, loss: float) -> None:
        if self._recipe.schedule != "plateau":
            return
        if loss < self._best:
            self._best, self._stale = loss, 0
        else:
            self._stale += 1
        if self._stale > self._recipe.patience:
            self._share *= self._recipe.factor
            self._stale = 0
            self._set()
        self.ended = max(self._peaks) * self._share < self._recipe.stop_below

    def _set(self) -> None:
        share = self._share
        warm = self._recipe.warmup_steps
        if self._taken < warm:
            share *= (self._taken + 1) / (warm + 1)
        elif self._recipe.schedule == "one-cycle":
            share = (1 + math.cos(math.pi * min(1.0, (self._taken - warm) / max(1, self._steps - warm)))) / 2
        for group, peak in zip(self._groups, self._peaks, strict=True):
            group["lr"] = peak * share


def _peak(group: dict[str, Any]) -> float:
    """Return the rate that the seed chose, even if a scheduler has changed it since: one-cycle schedulers keep it as `max_lr`."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))
