"""A character-level language model that trains on a CPU in some seconds: short convolutions, then a recurrent memory."""

import torch
import torch.nn.functional as F
from torch import nn


def build_optimizer(model, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps, pct_start=0.1)
    return optimizer, scheduler


class Convolution(nn.Module):
    """Each place sees itself and the places just before it; added to what came in."""

    def __init__(self, width, reach=4):
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, reach)

    def forward(self, x):
        past = F.pad(self.norm(x).transpose(1, 2), (self.reach - 1, 0))
        return x + F.gelu(self.conv(past)).transpose(1, 2)


class Memory(nn.Module):
    """A gated recurrent unit carries along what was read; added to what came in."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cell = nn.GRU(width, width, batch_first=True)

    def forward(self, x):
        return x + self.cell(self.norm(x))[0]


class CharLM(nn.Module):
    """Bytes (N, T) -> logits (N, T, vocabulary) of the byte that follows each."""

    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.convolution = Convolution(width)
        self.memory = Memory(width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        x = self.memory(self.convolution(self.embedding(x)))
        return self.head(self.norm(x))


def build_model(vocabulary):
    return CharLM(vocabulary)
