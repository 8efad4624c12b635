"""The augmentation of training images that a recipe configures, drawn separately for each image, on the images' device.

All functions take and return float32 (N, C, H, W) unless noted otherwise.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sandbox.tasks.image_classification.training.recipe import TrainingRecipe

_LUMA = (0.299, 0.587, 0.114)


def coloured(images: Tensor, recipe: TrainingRecipe, generator: Generator) -> Tensor:
    """Jitter brightness, contrast and saturation of images in 0..1, before they are normalised."""
    if not recipe.jitter:
        return images
    strength = recipe.jitter * _drawn(images, recipe.chance, generator)
    brightness, contrast, saturation = (1 + strength * (2 * _uniform(images, generator) - 1) for _ in range(3))
    images = images * brightness
    if images.shape[1] == 3:
        weights = torch.tensor(_LUMA, device=images.device)[:, None, None]
        grey = (images * weights).sum(1, keepdim=True)
        images = grey + (images - grey) * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + (images - mean) * contrast).clamp(0, 1)


def moved(images: Tensor, recipe: TrainingRecipe, generator: Generator) -> Tensor:
    """Mirror, shift and cover normalised images, whose mean colour is 0."""
    if recipe.flip:
        images = torch.where(_drawn(images, recipe.flip, generator), images.flip(-1), images)
    if recipe.translate:
        images = _translated(images, recipe, generator)
    if recipe.cutout:
        images = images.masked_fill(_squares(images, recipe, generator), 0.0)
    return images


def _translated(images: Tensor, recipe: TrainingRecipe, generator: Generator) -> Tensor:
    count, channels, height, width = images.shape
    shifted = _drawn(images, recipe.chance, generator)[:, 0, 0]
    rows = _shifts(count, height, recipe.translate, shifted, generator, images.device)
    columns = _shifts(count, width, recipe.translate, shifted, generator, images.device)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    index = rows.clamp(0, height - 1)[:, None, :, None].expand(-1, channels, -1, width)
    images = images.gather(2, index)
    index = columns.clamp(0, width - 1)[:, None, None, :].expand(-1, channels, height, -1)
    return images.gather(3, index) * inside


def _shifts(
    count: int, side: int, share: float, shifted: Tensor, generator: Generator, device: torch.device
) -> Tensor:
    """Return (N, side): for each row or column of the new image, the row or column of the old one that it is copied from."""
    most = max(1, round(side * share))
    offsets = torch.randint(-most, most + 1, (count, 1), generator=generator, device=device) * shifted
    return torch.arange(side, device=device)[None] + offsets


def _squares(images: Tensor, recipe: TrainingRecipe, generator: Generator) -> Tensor:
    """Return masks (N, 1, H, W) of squares, which may lie partly outside."""
    count, _, height, width = images.shape
    drawn = _drawn(images, recipe.chance, generator)[:, 0, 0]
    sides = []
    for side in (height, width):
        length = max(1, round(side * recipe.cutout))
        start = torch.randint(-(length // 2), side - length // 2, (count, 1), generator=generator, device=images.device)
        place = torch.arange(side, device=images.device)[None]
        sides.append((place >= start) & (place < start + length) & drawn)
    return sides[0][:, None, :, None] & sides[1][:, None, None, :]


def _drawn(images: Tensor, chance: float, generator: Generator) -> Tensor:
    """Return bool (N, 1, 1, 1): whether something happens to each image."""
    return _uniform(images, generator) < chance


def _uniform(images: Tensor, generator: Generator) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=generator, device=images.device)
