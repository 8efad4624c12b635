"""Rules that scale widths leave what comes in and what goes out as it is."""

import random
import re

import libcst as cst
import pytest

from agent.genome.rewrites.structure import narrower, wider

CHAIN = """
class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(nn.Linear({}, 32), nn.ReLU(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, {}))
"""


@pytest.mark.parametrize("rule", [narrower, wider])
@pytest.mark.parametrize(("first", "last"), [("64", "num_classes"), ("784", "10"), ("64", "16"), ("size", "100")])
@pytest.mark.parametrize("seed", range(4))
def test_inputs_and_classes_stay_and_layers_still_fit(rule, first, last, seed):
    changed, _ = rule(cst.parse_module(CHAIN.format(first, last)), random.Random(seed))
    pairs = re.findall(r"Linear\((\w+), (\w+)\)", changed.code)
    assert (pairs[0][0], pairs[-1][1]) == (first, last)
    assert [a for a, _ in pairs[1:]] == [b for _, b in pairs[:-1]] != ["32", "48"]


def test_a_layer_alone_has_no_width_of_its_own():
    lonely = cst.parse_module("class Head(nn.Module):\n    def __init__(self):\n        self.out = nn.Linear(64, 10)\n")
    assert narrower(lonely, random.Random(0)) is None
