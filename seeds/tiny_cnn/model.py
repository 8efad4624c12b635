"""A small convolutional classifier that trains on a CPU in about a second: for tutorials and tests."""

import torch
import torch.nn.functional as F
from torch import nn


def build_optimizer(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=steps, pct_start=0.3)
    return optimizer, scheduler


class Stage(nn.Module):
    """3 x 3 convolution, normalisation, activation, and half the size."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2, ceil_mode=True)


class TinyCNN(nn.Module):
    def __init__(self, num_classes, in_channels, width=16):
        super().__init__()
        self.first = Stage(in_channels, width)
        self.second = Stage(width, 2 * width)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        x = self.second(self.first(x)).mean((2, 3))
        return self.head(self.dropout(x))


def build_model(num_classes, in_channels):
    return TinyCNN(num_classes, in_channels)
