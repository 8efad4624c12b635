"""Forward and backward pass of one batch: plainly, or replayed as a CUDA graph, which costs one launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

Passed = tuple[Tensor, Tensor]
"""The loss, and how many images were right; both on the device."""

Pass = Callable[[Tensor, Tensor], Passed]
"""Takes images and labels; leaves gradients added to the parameters'."""

WARM = 4
"""Passes before the capture: libraries choose their kernels in the first ones."""


class Passes(Protocol):
    def __call__(self, images: Tensor, labels: Tensor) -> Passed:
        """Leaves the gradients of just this batch in the parameters."""
        ...


class Plain:
    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, work: Pass) -> None:
        self._optimizer, self._work = optimizer, work

    def __call__(self, images: Tensor, labels: Tensor) -> Passed:
        self._optimizer.zero_grad(set_to_none=True)
        return self._work(images, labels)


class Graphed:
    """Captures the pass of a whole batch after some plain ones. What cannot be captured goes on plainly."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, work: Pass, batch_size: int) -> None:
        self._plain = Plain(model, optimizer, work)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._work, self._batch_size = work, batch_size
        self._count = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: Passed | None = None
        self._found: Passed | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Passed:
        if self._graph is None:
            return self._before(images, labels)
        if len(images) != self._batch_size:  # the last of an epoch: added to gradients that keep their place
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.zero_()
            return self._work(images, labels)
        return self._replayed(images, labels)

    def _before(self, images: Tensor, labels: Tensor) -> Passed:
        self._count += len(images) == self._batch_size
        if self._count == WARM + 1 and len(images) == self._batch_size and self._captured(images, labels):
            return self._replayed(images, labels)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            passed = self._plain(images, labels)
        torch.cuda.current_stream().wait_stream(self._stream)
        return passed

    def _captured(self, images: Tensor, labels: Tensor) -> bool:
        for parameter in self._parameters:
            parameter.grad = None
        given = images.clone(memory_format=torch.preserve_format), labels.clone()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):  # the stream of the passes before: gradients belong to it
                found = self._work(*given)
        except RuntimeError as error:  # it looks at a value, or needs what a capture forbids
            print(f"CUDA graphs are not used: {str(error).splitlines()[0]}", flush=True)
            torch.cuda.synchronize()
            for parameter in self._parameters:
                parameter.grad = None
            return False
        self._graph, self._given, self._found = graph, given, found
        return True

    def _replayed(self, images: Tensor, labels: Tensor) -> Passed:
        assert self._graph and self._given and self._found
        self._given[0].copy_(images)
        self._given[1].copy_(labels)
        self._graph.replay()
        return self._found
