"""The sizes that blocks return, as an evaluation reports them: a claim of the candidate, for prompts only."""

import pytest

from sandbox.isolation import landlock
from sandbox.launch.client import ForkServerSandbox
from sandbox.sandbox import Report
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job
from sandbox.tasks.common.stages import Smoke

NET = """\
import torch.nn.functional as F
from torch import nn


class Down(nn.Conv2d):
    def __init__(self, i, o):
        super().__init__(i, o, 3, stride=2, padding=1)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stem, self.again = nn.Conv2d(in_channels, 4, 1), Down(4, 4)
        self.deep, self.pair, self.head = Down(4, 8), Pair(), nn.Linear(8, num_classes)

    def forward(self, x):
        x, _ = self.pair(self.deep(self.again(self.again(self.stem(x)))))
        return self.head(x.flatten(1))


def build_model(num_classes, in_channels):
    return Net(num_classes, in_channels)
"""


@pytest.fixture
def sandbox():
    sandbox = ForkServerSandbox("contained" if landlock.abi() else "none")
    yield sandbox
    sandbox.close()


def test_sizes_are_reported_by_class_in_the_order_of_the_calls(sandbox, tmp_path):
    task = open_task({"dataset": "digits"}, {"steps": 2}, {}, ("model.py",), tmp_path)
    measured = task.evaluate(Job({"model.py": NET}, 0), sandbox)
    assert measured.sizes_by_block == {"Down": ("4x4x4", "4x2x2", "8x1x1"), "Net": ("10",)}
    assert measured.parameters_by_block == {"Net": 8 + 90, "Down": 148 + 296}


@pytest.mark.parametrize(
    "line",
    ["size Net", "Net 3x3", "size N`et 3x3", "size Net 3 ", "size Net 3\r", f"size Net {'3x' * 9}3", f"size Net 3{' 3' * 12}"],
)
def test_lines_that_are_no_size_are_ignored(line):
    message = f"tensor F32 3 weight\n{line}\nsize Real 3x3\n".encode()
    smoke = Smoke.read(Report("exit", 0, 0.0, 0.0, 0, message), None)
    assert smoke.sizes_by_block == {"Real": ("3x3",)}
