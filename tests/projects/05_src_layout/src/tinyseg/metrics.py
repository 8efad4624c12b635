from __future__ import annotations

from torch import Tensor


def iou(logits: Tensor, target: Tensor) -> float:
    predicted = logits > 0
    return float((predicted & target.bool()).sum() / (predicted | target.bool()).sum())
