import re

import pytest

from sandbox.isolation import landlock
from sandbox.launch.client import ForkServerSandbox
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job

LEVEL = "contained" if landlock.abi() else "none"

HONEST = """\
import ctypes, gc, io, os, pickle, struct, sys, time
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(128, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.conv(x))).flatten(1))


def build_model(num_classes, in_channels):
    return Net(num_classes, in_channels)
"""
"""A candidate with something to gain: small, about 0.85 accurate after three epochs. Tests append what they change."""

HONEST_PARAMETERS = 72 + 16 + 1290


class Recorder:
    """A sandbox that keeps what goes in and what comes out."""

    def __init__(self, sandbox):
        self.level, self._sandbox = sandbox.level, sandbox
        self.calls, self.reports, self.inputs = [], [], []

    def run(self, call, watch=None):
        self.calls.append(call)
        self.inputs.append({name: path.read_bytes() for name, path in call.inputs.items()})
        self.reports.append(self._sandbox.run(call, watch))
        return self.reports[-1]

    def close(self):
        """The sandbox belongs to the session."""

    def logs(self):
        """(stage, log) of each call."""
        return [(c.entry.partition(":")[2], r.log) for c, r in zip(self.calls, self.reports, strict=True)]


@pytest.fixture(scope="session")
def warm():
    sandbox = ForkServerSandbox(LEVEL)
    yield sandbox
    sandbox.close()


@pytest.fixture
def recorder(warm):
    return Recorder(warm)


@pytest.fixture(scope="session")
def open_digits(cache):
    """A task on the digits; keywords go into its budget, `at_most` bounds the parameters."""

    def open_it(at_most=None, **budget):
        bounds = {} if at_most is None else {"parameters": at_most}
        return open_task({"dataset": "digits"}, {"epochs": 3, **budget}, bounds, ("model.py",), cache)

    return open_it


@pytest.fixture
def evaluate(open_digits, recorder):
    """Evaluates one source text."""

    def run(source, seed=0, **settings):
        return open_digits(**settings).evaluate(Job({"model.py": source}, seed), recorder)

    return run


@pytest.fixture(scope="session")
def honest_source():
    return HONEST


@pytest.fixture(scope="session")
def honest(open_digits, warm):
    """What the candidate without any change reaches."""
    measured = open_digits().evaluate(Job({"model.py": HONEST}, 0), warm)
    assert measured.values["parameters"] == HONEST_PARAMETERS
    assert measured.values["accuracy"] > 0.75
    return measured.values


@pytest.fixture(scope="session")
def is_clean():
    """No terminal escape, no direction mark, nothing that is not a printed character or a line break."""
    return lambda text: re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text) is None
