"""How the model of a seed is made: by `build_model`, or by another function or class, with the numbers that it takes."""

import pytest

from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, {parameters}):
        super().__init__()
        self.a = nn.Linear({inputs}, {classes})

    def forward(self, x):
        return self.a(x.flatten(1))
"""


@pytest.fixture
def check(cache, warm):
    """What is said of a program before a run; None if it can be trained."""

    def check_it(text, **task):
        opened = open_task({"dataset": "digits", **task}, {"epochs": 1}, {}, ("model.py",), cache)
        failure = opened.check(Job({"model.py": text}, 0), warm)
        return failure and failure.reason

    return check_it


@pytest.mark.parametrize("parameters", ["num_classes", "channels, n_classes=10", "n_classes, width=3", "*, classes"])
def test_a_class_gets_the_numbers_that_it_names(check, parameters):
    classes = next(n for n in ("num_classes", "n_classes", "classes") if n in parameters)
    assert check(NET.format(parameters=parameters, inputs=64, classes=classes), model="Net") is None


@pytest.mark.parametrize("head", ["n, c", "*numbers", "k", "num_classes", "", "in_channels, num_classes"])
def test_build_model_may_take_fewer_arguments(check, head):
    net = NET.format(parameters="n=10", inputs=64, classes="n")
    assert check(f"{net}\n\ndef build_model({head}):\n    return Net()\n") is None


def test_what_makes_the_model_is_an_entry_point(cache):
    opened = open_task({"dataset": "digits", "model": "Net"}, {"epochs": 1}, {}, ("model.py",), cache)
    assert "Net" in opened.entry_points and "`Net`" in opened.facts()["May be overridden"]


CONVOLUTION = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d({channels}, 4, 5), nn.Flatten(), nn.Linear(4 * {left} ** 2, num_classes))

    def forward(self, x):
        return self.a(x)
"""


def adapted(task):
    """What a run keeps besides its secret."""
    return {key: value for key, value in task.pins.items() if key != "secret"}


@pytest.mark.parametrize(
    ("net", "keys"),
    [
        (NET.format(parameters="num_classes", inputs=784, classes="num_classes"), {"input_size": [28, 28]}),
        (NET.format(parameters="num_classes", inputs=192, classes="num_classes"), {"channels": 3}),
        (CONVOLUTION.format(channels=3, left=4), {"channels": 3}),
        (CONVOLUTION.format(channels=3, left=28), {"channels": 3, "input_size": [32, 32]}),
        (CONVOLUTION.format(channels=1, left=60), {"input_size": [64, 64]}),
    ],
)
def test_images_are_changed_for_a_model_that_runs_on_others_alone(cache, warm, net, keys):
    job = Job({"model.py": net}, 0)
    task = {"dataset": "digits", "model": "Net"}
    opened = open_task(task, {"steps": 2}, {}, ("model.py",), cache)
    before = opened.provenance
    assert opened.check(job, warm) is None
    assert adapted(opened) == keys
    assert "does not run on images of 1 x 8 x 8" in opened.remarks[-1]
    assert (opened.provenance != before) == ("channels" in keys)
    size = keys.get("input_size", [8, 8])
    assert f"(N, {keys.get('channels', 1)}, {size[0]}, {size[1]})" in opened.facts()["Input"]
    assert "accuracy" in opened.evaluate(job, warm).values
    later = open_task({**task, **opened.pins}, {"steps": 2}, {}, ("model.py",), cache)
    assert later.check(job, warm) is None and not adapted(later) and later.provenance == opened.provenance


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (NET.format(parameters="num_classes", inputs=784, classes="num_classes"), {"input_size": [16, 16]}),
        (CONVOLUTION.format(channels=3, left=4), {"channels": 1}),
        (CONVOLUTION.format(channels=5, left=4), {}),
        (NET.format(parameters="num_classes", inputs=999, classes="num_classes"), {}),
    ],
)
def test_what_the_user_has_named_stays_and_what_fits_nothing_is_told(cache, warm, net, named):
    opened = open_task({"dataset": "digits", "model": "Net", **named}, {"steps": 2}, {}, ("model.py",), cache)
    failure = opened.check(Job({"model.py": net}, 0), warm)
    assert failure and not adapted(opened) and opened.facts()["Input"]


def test_a_name_that_the_file_lacks_is_named(check):
    assert "model.py has no function or class Other" in check(NET.format(parameters="n=1", inputs=64, classes=10), model="Other")
