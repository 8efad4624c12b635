"""Small programs that the tests of this room edit, and helpers that write answers and read results."""

import textwrap

from agent.genome import Genome, Violations

GATE_MODEL = '''\
"""A small model."""
import torch
from torch import nn

WIDTH = 8


# Squeeze and excitation:
# gates the channels.
class Gate(nn.Module):
    def __init__(self, channels, ratio=3):
        super().__init__()
        self.fc = nn.Linear(channels, channels)   # two spaces  here

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]


@torch.no_grad()
def scale(x, factor=2.0):
    return x * factor


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.gate = Gate(WIDTH, ratio=2)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(scale(self.gate(x), 3.0).mean((2, 3)))


def build_model(num_classes, in_channels):
    return Net(num_classes)
'''

NEW_GATE = """
    class Gate(nn.Module):
        def __init__(self, channels, ratio=3):
            super().__init__()

        def forward(self, x):
            return x * 0.5
"""

NET_MODEL = '''\
"""A small model."""
import torch
from torch import nn

WIDTH = 8


# Squeeze and excitation:
# gates the channels.
class Gate(nn.Module):
    def __init__(self, channels, ratio=3):
        super().__init__()
        self.fc = nn.Linear(channels, channels)   # two spaces  here

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x))


class Spare(nn.Module):
    """Nothing uses it."""


# Doubles.
def scale(x, factor=2.0):
    return x * factor


class Net(nn.Module):
    def __init__(self, classes, make=Gate):
        super().__init__()
        self.gate = make(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(scale(self.gate(x)))


def build_model(num_classes, in_channels):
    return Net(num_classes)
'''

SMALL_MODULE = '''\
"""Doc."""
import math

# above
@decorated
class A(Base):
    """Says what."""

    def f(self, x: int = 3) -> int:
        return x  # same


def helper(a, *, b=1):
    """Only a docstring."""


async def later():
    return A().f(helper(1))


X = math.pi
'''

NET_GENOME = Genome({"model.py": NET_MODEL}, frozenset({"build_model"}))

SCALE = "def scale(x, factor=2.0):\n    return x + factor"

NET = '''\
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(x)
'''


def fenced(code, marks="```", language="python"):
    return f"{marks}{language}\n{textwrap.dedent(code).strip()}\n{marks}\n"


def answer(code):
    return f"Intention: test.\nExpected effect: none.\n\n{fenced(code)}"


def apply_block(editor, code, block="Gate", source=GATE_MODEL):
    """Apply an answer to a prompt that asked for one block."""
    return editor.apply(Genome({"model.py": source}), (block,), answer(code))


def apply_freely(editor, code, genome=NET_GENOME):
    """Apply an answer that may change any block."""
    return editor.apply(genome, (), answer(code))


def text(genome):
    assert not isinstance(genome, Violations), genome.reasons
    return genome.files["model.py"]


def refused(result):
    assert isinstance(result, Violations), dict(result.files)
    return result.stage, " ".join(result.reasons)
