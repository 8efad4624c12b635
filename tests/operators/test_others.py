"""The new code of another program, as a prompt shows it."""

import pytest

from agent.genome import Genome
from agent.operators.others import new_code

BEFORE = """\
import torch


def build_optimizer(model, steps):
    return torch.optim.SGD(model.parameters(), lr=0.1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, 8)
        self.second = torch.nn.Linear(8, 8)
        self.third = torch.nn.Linear(8, 8)

    def forward(self, x):
        return self.third(self.second(self.first(x)))
"""
SLOW = """\
RATE = 0.3


class Slow(torch.optim.SGD):
    def __init__(self, p):
        super().__init__(p, RATE)


def build_optimizer"""
AFTER = (
    BEFORE.replace("torch.optim.SGD(model.parameters(), lr=0.1)", "Slow(model.parameters())")
    .replace("def build_optimizer", SLOW)
    .replace("self.second = torch.nn.Linear(8, 8)", "self.second = torch.nn.Identity()")
)


@pytest.fixture
def programs():
    return Genome({"model.py": BEFORE}), Genome({"model.py": AFTER})


def test_a_block_comes_with_the_new_definitions_that_it_needs(programs):
    text = new_code(*programs, ["build_optimizer"], 1000)
    assert text == (
        "RATE = 0.3\n"
        "class Slow(torch.optim.SGD):\n    def __init__(self, p):\n        super().__init__(p, RATE)\n"
        "# in function build_optimizer\n    ...\n    return Slow(model.parameters())"
    )


def test_what_is_shown_already_is_not_shown_again(programs):
    text = new_code(*programs, ["build_optimizer", "Slow"], 1000)
    assert text.count("class Slow") == 1 and "left out" not in text


def test_a_block_whose_definitions_do_not_fit_is_left_out_whole(programs):
    text = new_code(*programs, ["build_optimizer", "Net"], 110)
    assert text == (
        "# in class Net\n        ...\n        self.second = torch.nn.Identity()\n# left out: build_optimizer (3 lines)"
    )


def test_where_nothing_fits_some_lines_are_better_than_none(programs):
    assert new_code(*programs, ["Net"], 40).startswith("# in class Net\n        ...\n# and 1 more line")


def test_as_a_diff_it_has_what_went_only_where_most_stays(programs):
    lines = new_code(*programs, ["Net", "Slow"], 1000, as_diff=True).splitlines()
    assert "-        self.second = torch.nn.Linear(8, 8)" in lines and "+        self.second = torch.nn.Identity()" in lines
    assert lines[0] == "@@ class Net @@" and "+class Slow(torch.optim.SGD):" in lines
    whole = Genome({"model.py": BEFORE.split("class Net")[0] + "class Net(torch.nn.Identity):\n    pass\n"})
    assert new_code(programs[0], whole, ["Net"], 1000, as_diff=True) == "+class Net(torch.nn.Identity):\n+    pass"


STEPS = """    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.mul_(0.9).add_(p.grad)
                p.add_(momentum, alpha=-group["lr"])
"""


def test_the_same_mechanism_under_another_name_is_shown_as_what_differs():
    base = Genome({"model.py": f"import torch\n\n\nclass Heavy(torch.optim.Optimizer):\n{STEPS}"})
    renamed = f"class Ball(torch.optim.Optimizer):\n{STEPS.replace('0.9', '0.95')}\n\ndef make(p):\n    return Ball(p, {{}})\n"
    other = Genome({"model.py": f"import torch\n\n\n{renamed}"})
    assert new_code(base, other, ["make"], 1000) == (
        "# in class Ball, as Heavy above\n"
        "class Ball(torch.optim.Optimizer):\n                ...\n                momentum.mul_(0.95).add_(p.grad)\n"
        "def make(p):\n    return Ball(p, {})"
    )


def test_only_what_is_whole_is_shown_where_pieces_are_of_no_use(programs):
    assert new_code(*programs, ["Net"], 40, whole=True) == ""
    assert new_code(*programs, ["Net"], 1000, whole=True) == new_code(*programs, ["Net"], 1000)
