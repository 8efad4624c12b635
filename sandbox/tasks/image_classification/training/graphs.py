"""Forward and backward pass of one batch, run directly or replayed as a CUDA graph: one launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

PassResult = tuple[Tensor, Tensor]
"""(loss, number of correctly classified images), both on the device."""

PassFunction = Callable[[Tensor, Tensor], PassResult]
"""Takes images and labels; adds gradients to those of the parameters."""

WARM = 4
"""Number of direct passes before the capture: libraries choose their kernels in the first ones."""


class BatchPass(Protocol):
    """Forward and backward pass of a batch."""

    def __call__(self, images: Tensor, labels: Tensor) -> PassResult:
        """Leaves the gradients of this batch alone in the parameters."""
        ...


class DirectPass:
    """Runs the pass directly."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, work: PassFunction) -> None:
        self._optimizer, self._work = optimizer, work

    def __call__(self, images: Tensor, labels: Tensor) -> PassResult:
        self._optimizer.zero_grad(set_to_none=True)
        return self._work(images, labels)


class GraphedPass:
    """Captures the pass of a full batch after some direct ones. A pass that cannot be captured runs directly for good."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, work: PassFunction, batch_size: int) -> None:
        self._plain = DirectPass(model, optimizer, work)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._work, self._batch_size = work, batch_size
        self._count = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: PassResult | None = None
        self._found: PassResult | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> PassResult:
        if self._graph is None:
            return self._before(images, labels)
        if len(images) != self._batch_size:  # the last batch of an epoch: added to gradients that keep their memory
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.zero_()
            return self._work(images, labels)
        return self._replayed(images, labels)

    def _before(self, images: Tensor, labels: Tensor) -> PassResult:
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
            with torch.cuda.graph(graph, stream=self._stream):  # the stream of the earlier passes: gradients belong to it
                found = self._work(*given)
        except RuntimeError as error:  # it looks at a value, or needs what a capture forbids
            print(f"CUDA graphs are not used: {str(error).splitlines()[0]}", flush=True)
            torch.cuda.synchronize()
            for parameter in self._parameters:
                parameter.grad = None
            return False
        self._graph, self._given, self._found = graph, given, found
        return True

    def _replayed(self, images: Tensor, labels: Tensor) -> PassResult:
        assert self._graph and self._given and self._found
        self._given[0].copy_(images)
        self._given[1].copy_(labels)
        self._graph.replay()
        return self._found
