"""Seeds the random numbers of the process of a call."""

from __future__ import annotations

import torch


def seed(number: int, device: str) -> None:
    """Seed torch. On a CPU this avoids `torch.manual_seed`, which spends milliseconds on preparing GPUs as well."""
    if device == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)
