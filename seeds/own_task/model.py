"""A small perceptron for tables of numbers."""

import torch
from torch import nn


def build_optimizer(model, steps):
    return torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.01)


class Layer(nn.Module):
    """Linear, activation, dropout."""

    def __init__(self, inputs, outputs, dropout=0.1):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.activation(self.linear(x)))


class Perceptron(nn.Module):
    """(N, inputs) -> (N,)."""

    def __init__(self, inputs, width=32):
        super().__init__()
        self.first = Layer(inputs, width)
        self.second = Layer(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.second(self.first(x))).squeeze(1)


def build_model(inputs):
    return Perceptron(inputs)
