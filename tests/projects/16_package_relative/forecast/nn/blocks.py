from torch import nn

from ..defaults import EXPANSION


class FeedForward(nn.Sequential):
    def __init__(self, dim, dropout=0.1):
        hidden = dim * EXPANSION
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class Mixer(nn.Module):
    def __init__(self, length, channels):
        super().__init__()
        self.norm_time, self.norm_channels = nn.LayerNorm(length), nn.LayerNorm(channels)
        self.time, self.channels = FeedForward(length), FeedForward(channels)

    def forward(self, x):
        x = x + self.time(self.norm_time(x.transpose(1, 2))).transpose(1, 2)
        return x + self.channels(self.norm_channels(x))
