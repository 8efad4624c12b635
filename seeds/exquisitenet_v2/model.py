"""ExquisiteNetV2: a small image classifier of depthwise convolutions and channel gates (518,230 parameters)."""

import torch
import torch.nn.functional as F
from torch import nn


def build_optimizer(model, steps):
    """SGD with Nesterov momentum under one cycle; the scheduler is stepped after every batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=steps, pct_start=0.3, cycle_momentum=False
    )
    return optimizer, scheduler


class SE(nn.Module):
    """Squeeze and excitation: two linear layers decide how much of each channel passes."""

    def __init__(self, channels, ratio=3):
        super().__init__()
        self.reduce = nn.Linear(channels, channels // ratio, bias=False)
        self.expand = nn.Linear(channels // ratio, channels, bias=False)

    def forward(self, x):
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]


class SELN(nn.Module):
    """Squeeze and excitation by layer normalisation alone, without linear layers."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        gate = self.norm(x.mean((2, 3)))
        return x * torch.sigmoid(gate)[:, :, None, None]


class DFSEB(nn.Module):
    """Two pointwise-depthwise pairs with a channel gate after the first; keeps channels and size."""

    def __init__(self, channels, kernel_size=3, gate=SELN):
        super().__init__()
        padding = kernel_size // 2
        self.point1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.depth1 = nn.Conv2d(channels, channels, kernel_size, padding=padding, groups=channels)
        self.gate = gate(channels)
        self.point2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.depth2 = nn.Conv2d(channels, channels, kernel_size, padding=padding, groups=channels)

    def forward(self, x):
        y = F.silu(self.norm1(self.point1(x)))
        y = self.gate(self.depth1(y)) + x
        y = F.hardswish(self.norm2(self.point2(y)))
        return self.depth2(y) + x


class FCT(nn.Module):
    """The stem: three views of the image at half its size, mixed into `out_channels`."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.depth = nn.Conv2d(in_channels, in_channels, 4, stride=2, padding=1, groups=in_channels, bias=False)
        self.point = nn.Conv2d(3 * in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        largest = F.max_pool2d(x, 2, ceil_mode=True)
        smallest = -F.max_pool2d(-x, 2, ceil_mode=True)
        even = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))  # the pools round up
        return self.norm(self.point(torch.cat([largest, smallest, self.depth(even)], dim=1)))


class EVE(nn.Module):
    """Halves the size by both extremes of each 2 x 2 window."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.point = nn.Conv2d(2 * in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        largest = F.max_pool2d(x, 2, ceil_mode=True)
        smallest = -F.max_pool2d(-x, 2, ceil_mode=True)
        return self.norm(self.point(torch.cat([largest, smallest], dim=1)))


class ME(nn.Module):
    """Halves the size by the maximum of each 2 x 2 window."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.point = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.norm(self.point(F.max_pool2d(x, 2, ceil_mode=True)))


class DW(nn.Module):
    """A last depthwise look before the head."""

    def __init__(self, channels, kernel_size=3):
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)

    def forward(self, x):
        return F.hardswish(self.depth(x))


class ExquisiteNetV2(nn.Module):
    """Takes 1 or 3 channels and images of any size; those below 32 pixels are enlarged to 32."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stages = nn.Sequential(
            FCT(in_channels, 12),
            DFSEB(12),
            EVE(12, 48),
            DFSEB(48),
            ME(48, 96),
            DFSEB(96),
            ME(96, 192),
            DFSEB(192),
            ME(192, 384),
            DFSEB(384),
            DW(384),
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(384, num_classes)

    def forward(self, x):
        if min(x.shape[-2:]) < 32:
            x = F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
        x = self.stages(x).mean((2, 3))
        return self.head(self.dropout(x))


def build_model(num_classes, in_channels):
    return ExquisiteNetV2(num_classes, in_channels)
