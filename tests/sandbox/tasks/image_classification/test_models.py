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


def test_a_model_for_images_of_another_size_is_told_which(check):
    net = NET.format(parameters="num_classes", inputs=784, classes="num_classes")
    reason = check(net, model="Net")
    assert "The images have 8 x 8 pixels, and it runs on 28 x 28: --set task.input_size=[28,28]" in reason
    assert check(net, model="Net", input_size=[28, 28]) is None


def test_a_name_that_the_file_lacks_is_named(check):
    assert "model.py has no function or class Other" in check(NET.format(parameters="n=1", inputs=64, classes=10), model="Other")
