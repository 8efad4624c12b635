from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GatedLinear(nn.Module):
    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.dropout(F.silu(self.gate(x)) * self.value(x))
