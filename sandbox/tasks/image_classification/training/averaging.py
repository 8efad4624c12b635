"""A moving average of the weights: often better than the last weights, at the cost of a copy."""

from __future__ import annotations

import torch
from torch import nn


class Average:
    """The moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._count = decay, 0
        self._model = model
        state = model.state_dict()
        self._names = [name for name, tensor in state.items() if tensor.is_floating_point()]
        self._mean = [state[name].detach().clone() for name in self._names]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights; call it after every step. The first steps count more, so that the random start is forgotten."""
        self._count += 1
        state = self._model.state_dict()
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        torch._foreach_lerp_(self._mean, [state[name].detach() for name in self._names], 1 - decay)

    def load(self) -> None:
        """Copy the average into the model; integer tensors such as counters stay as they are."""
        self._model.load_state_dict(dict(zip(self._names, self._mean, strict=True)), strict=False)
