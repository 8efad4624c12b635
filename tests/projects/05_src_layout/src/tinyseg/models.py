from __future__ import annotations

import torch
from torch import Tensor, nn

from tinyseg.layers import GatedLinear


class MLP(nn.Module):
    """Maps points of the plane to the logit of a region."""

    def __init__(self, width: int = 32, depth: int = 2, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.layers = nn.ModuleList(GatedLinear(width, dropout=dropout) for _ in range(depth))
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inp(x))
        for layer in self.layers:
            x = x + layer(x)
        return self.out(x).squeeze(-1)
