"""Images on the device: the whole set stays there as uint8; tensor operations turn a batch into the model's input."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mapped(descriptor: int) -> Tensor:
    """Return a `.npy` file as a tensor that is read lazily; all processes that read it share its pages."""
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
        offset = file.tell()
        data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not being writable is intended: whoever writes to it crashes itself
        return torch.from_numpy(np.frombuffer(data, kind, offset=offset).reshape(shape))


class View:
    """Turns stored images, uint8 (N, C, H, W), into the model's input: float32, resized, normalised."""

    def __init__(self, options: Mapping[str, Any], device: torch.device) -> None:
        """`options`: mean, std, height, width, input_size."""
        self._mean = torch.tensor(options["mean"], device=device)[:, None, None]
        self._std = torch.tensor(options["std"], device=device)[:, None, None]
        stored = (options["height"], options["width"])
        wanted = tuple(options.get("input_size") or stored)
        self.size: tuple[int, int] = wanted
        """Return (height, width) of the model's input."""
        self._resizes = wanted != stored
        self._on_gpu = device.type == "cuda"

    def scaled(self, images: Tensor) -> Tensor:
        """Return images in 0..1 at the size of the model's input; bilinear, with anti-aliasing if they become smaller."""
        return self.resized(self.stored(images))

    def stored(self, images: Tensor) -> Tensor:
        """Return images in 0..1 at their own size."""
        return images.float() / 255

    def resized(self, images: Tensor) -> Tensor:
        """Return images resized to the model's input."""
        if not self._resizes:
            return images
        smaller = self.size[0] < images.shape[-2] or self.size[1] < images.shape[-1]
        return F.interpolate(images, size=self.size, mode="bilinear", align_corners=False, antialias=smaller)

    def normalised(self, scaled: Tensor) -> Tensor:
        """Return images with zero mean and unit deviation of each channel over the training set."""
        return (scaled - self._mean) / self._std

    def placed(self, images: Tensor) -> Tensor:
        """On a GPU: channels last, like the model's weights."""
        return images.contiguous(memory_format=torch.channels_last) if self._on_gpu and images.ndim == 4 else images

    def __call__(self, images: Tensor) -> Tensor:
        return self.placed(self.normalised(self.scaled(images)))
