#!/usr/bin/env python
import torch
import torch.nn.functional as F
from tinyseg import MLP, __version__
from tinyseg.metrics import iou


def make_points(n: int, generator: torch.Generator):
    x = torch.rand(n, 2, generator=generator) * 2 - 1
    return x, ((x.norm(dim=1) * 6).sin() > 0).float()


def main() -> None:
    print("tinyseg", __version__)
    generator = torch.Generator().manual_seed(7)
    x, y = make_points(512, generator)
    held_x, held_y = make_points(512, generator)
    model = MLP(dropout=0.05)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(120):
        loss = F.binary_cross_entropy_with_logits(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print({"iou": iou(model(held_x), held_y), "loss": loss.item()})


if __name__ == "__main__":
    main()
