"""The seed of a child's random numbers."""

from __future__ import annotations

import torch


def seed(number: int, device: str) -> None:
    """As `torch.manual_seed`, which takes milliseconds to prepare GPUs as well: where there are none, without that."""
    if device == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)
