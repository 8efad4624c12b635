"""A task of its own that trains in no time, and its pieces to be replaced."""

import pytest

from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job

TASK = """\
import numpy as np

title = "Predict a sum."
objectives = {"error": "min"}
output_shape = ()


def data():
    x = np.random.default_rng(0).normal(size=(300, 4)).astype("f4")
    y = x.sum(1)
    return {"train": {"x": x[:200], "y": y[:200]}, "validation": (x[200:250], y[200:250]), "test": (x[250:], y[250:])}


def fit(module, train, budget, seed):
    import torch

    x, y = torch.from_numpy(train["x"]), torch.from_numpy(train["y"])
    model = module.Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(budget.steps):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def predict(module, weights, inputs):
    import torch

    model = module.Model()
    model.load_state_dict(weights)
    return torch.cat([model(batch) for batch in torch.from_numpy(inputs).split(16)])


def score(predictions, targets):
    return {"error": float(np.abs(predictions - targets).mean())}
"""

MODEL = """\
import os, sys, time
import numpy as np
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x):
        return self.linear(x).squeeze(1)
"""


@pytest.fixture(scope="session")
def task_text():
    return TASK


@pytest.fixture(scope="session")
def model_text():
    return MODEL


@pytest.fixture
def open_own(tmp_path, cache):
    """Opens a task with that text; keywords go into `[budget]`."""

    def open_it(text=TASK, files=("model.py",), bounds=None, **budget):
        (tmp_path / "task.py").write_text(text)
        settings = {"steps": 30, "time_limit": "60s", **budget}
        return open_task({"name": "task.py"}, settings, bounds or {}, files, cache, folder=tmp_path)

    return open_it


@pytest.fixture
def evaluate_own(open_own, recorder):
    """Evaluates a program, or several files, with the task of that text."""

    def run(program=MODEL, text=TASK, seed=0, test_too=False, **options):
        sources = program if isinstance(program, dict) else {"model.py": program}
        task = open_own(text, tuple(sources), **options)
        return task.evaluate(Job(sources, seed, test_too=test_too), recorder)

    return run
