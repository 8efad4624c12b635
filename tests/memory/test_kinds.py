"""The kinds of layers that source is about."""

import pytest

from agent.memory import kinds_in
from agent.memory.kinds import kinds_changed


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("nn.Conv2d(1, 2, 3)", ("Conv2d",)),
        ("torch.optim.SGD(p, lr=1)", ("SGD",)),
        ("F.silu(x) + torch.nn.functional.gelu(x)", ("silu", "gelu")),
        ("def f(act=nn.ReLU): ...", ("ReLU",)),
        ("nn.Sequential(nn.Linear(1, 2), SE(3))", ("Linear", "SE")),
        ("class A(nn.Module):\n    def f(self, X): raise ValueError(X.shape)", ()),
        ("x = self.conv(y)", ()),
        ("def (", ()),
        ("a\x00b", ()),
    ],
)
def test_kinds_are_what_source_builds(source, kinds):
    assert kinds_in(source) == kinds


def test_a_changed_line_in_the_middle_of_a_call_is_about_that_call():
    old = "a = nn.Linear(1, 2)\nb = nn.Conv2d(\n    1,\n    kernel_size=3,\n)\nc = nn.GELU()\n"
    assert kinds_changed(old, old.replace("kernel_size=3", "kernel_size=5")) == ("Conv2d",)
    assert kinds_changed(old, old.replace("nn.GELU()", "nn.SiLU()")) == ("SiLU", "GELU")
