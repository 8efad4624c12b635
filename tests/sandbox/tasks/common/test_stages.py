"""The sizes that blocks return, as an evaluation reports them: a claim of the candidate, for prompts only."""

import pytest

from sandbox.isolation import landlock
from sandbox.launch.client import ForkServerSandbox
from sandbox.sandbox import CallLimits, Report
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, StageFailed, StageFailure
from sandbox.tasks.common.stages import MAX_CODE, MAX_WEIGHTS, Smoke, Stages, explain, weights_limit
from sandbox.tasks.common.weights import MAX_HEADER

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


def test_calls_are_reported_by_class_with_size_and_parameters(sandbox, tmp_path):
    task = open_task({"dataset": "digits"}, {"steps": 2}, {}, ("model.py",), tmp_path)
    measured = task.evaluate(Job({"model.py": NET}, 0), sandbox)
    down = (("4x4x4", 148), ("4x2x2", 0), ("8x1x1", 296))
    assert measured.calls_by_block == {"Down": down, "Net": (("10", 98),)}
    assert measured.parameters_by_block == {"Net": 8 + 90, "Down": 148 + 296}


@pytest.mark.parametrize(
    "line",
    [
        "calls Net",
        "Net 3x3:1",
        "calls N`et 3x3:1",
        "calls Net 3",
        "calls Net 3:1 ",
        "calls Net 3:1\r",
        "calls Net 3:-1",
        f"calls Net {'3x' * 9}3:1",
        f"calls Net 3:1{' 3:1' * 12}",
        f"calls Net 3:{'1' * 13}",
    ],
)
def test_lines_that_are_no_calls_are_ignored(line):
    message = f"tensor F32 3 weight\n{line}\ncalls Real 3x3:7\n".encode()
    smoke = Smoke.read(Report("exit", 0, 0.0, 0.0, 0, message), {}, None)
    assert smoke.calls_by_block == {"Real": (("3x3", 7),)}


def test_weights_beyond_the_limit_are_refused_before_they_are_trained_with_the_limit_named():
    state = "tensor F32 {}x1000 body"
    most = MAX_WEIGHTS // 4000
    assert Smoke.read(Report("exit", 0, 0.0, 0.0, 0, state.format(most).encode()), {}, None).layout.size <= MAX_WEIGHTS
    with pytest.raises(StageFailed) as failed:
        Smoke.read(Report("exit", 0, 0.0, 0.0, 0, state.format(200_000).encode()), {}, None)
    assert failed.value.failure == StageFailure("smoke", "The model's weights take 763 MiB; 512 MiB is the limit.")
    assert weights_limit(None) >= MAX_WEIGHTS + MAX_HEADER  # what smoke lets through can be returned


def test_what_is_too_large_is_told_with_the_limit():
    reason = explain(Report("result", 0, 0.0, 0.0, 0), CallLimits(1, 1, result=3 << 20), ())
    assert "(3 MiB)" in reason


def test_a_seed_that_is_too_long_may_grow_by_what_others_may_have():
    sizes = {"": MAX_CODE, "long": 3 * MAX_CODE}
    for seed, size, fits in (("", 1, True), ("", 1, False), ("long", 4, True), ("long", 4, False)):
        size = size * MAX_CODE + (not fits)
        job = Job({"model.py": "#" * size}, 0, seed_size=sizes[seed])
        if fits:
            Stages(job, None)
        else:
            with pytest.raises(StageFailed):
                Stages(job, None)
