"""What an answer may not break, with the reason that it is given."""

import pytest

from agent.genome import Genome, Violations
from tests.genome.programs import NET, NET_GENOME, NET_MODEL, SCALE, apply_block, apply_freely, fenced, refused, text


@pytest.mark.parametrize(
    ("code", "block", "reason"),
    [
        ("def Gate(channels, ratio=3):\n    return None", "Gate", "must stay a class"),
        ("def scale(x):\n    return x", "scale", "`factor` must stay at position 2"),
        ("def scale(x, power, factor=2.0):\n    return x", "scale", "`factor` must stay at position 2"),
        ("def scale(x, factor, power=1):\n    return x", "scale", "`factor` must keep a default"),
        ("def scale(x, factor=2.0, *, power):\n    return x", "scale", "`power` needs a default"),
        ("def scale(x, factor=2.0):\n    return np.abs(x)", "scale", "`np` is not defined"),
        ("def scale(x, factor=2.0):\n    return lambda: [n for n in deep]", "scale", "`deep` is not defined"),
        ("def scale(x, factor=nothing):\n    return x", "scale", "`nothing` is not defined"),
        ("def scale(x: Tensor, factor=2.0):\n    return x", "scale", "`Tensor` is not defined"),
        ("import not_there\ndef scale(x, factor=2.0):\n    return not_there.relu(x)", "scale", "is not installed"),
        ("from math import *\ndef scale(x, factor=2.0):\n    return x", "scale", "Star imports"),
        ("def scale(x, factor=2.0):\n    return x\ntorch.manual_seed(0)", "scale", "side effects"),
        ("def scale(x, factor=2.0):\n    return x\nGate.ratio = 4", "scale", "side effects"),
        ("WIDTH = 9\ndef scale(x, factor=2.0):\n    return x", "scale", "`WIDTH` exists"),
        (
            "def scale(x, factor=2.0):\n    return x\ndef build_model(num_classes, in_channels):\n    return 1",
            "scale",
            "changes `build_model`",
        ),
        ("class Gate(nn.Module):\n    def __init__(self, channels, ratio=3):\n        super().__init__()", "Gate", "`forward`"),
        ("class Gate(nn.Module):\n    def forward(self, x):\n        return x", "Gate", "`__init__`"),
    ],
)
def test_a_broken_contract_has_its_reason(editor, code, block, reason):
    result = apply_block(editor, code, block)
    assert isinstance(result, Violations) and result.stage == "contract"
    assert any(reason in r for r in result.reasons), result.reasons


@pytest.mark.parametrize(
    ("reply", "stage", "reason"),
    [
        ("I would rather not.", "answer", "no fenced Python block with the definitions that change"),
        ("", "answer", "no fenced Python block"),
        ("```rust\nstruct Gate;\n```", "answer", "no fenced Python block"),
        ("```python\nprint(1)\n```", "answer", "defines a class, function or constant"),
        (fenced(SCALE)[: -len("```\n")], "answer", "cut off"),
        (fenced("def scale(x, factor=2.0:\n    return x"), "answer", "line 1"),
        ("x" * 200_001, "answer", "200,001 characters"),
        (fenced(NET_MODEL), "answer", "changes nothing"),
        (fenced("def scale(x, factor=2.0):\n    'Says more.'\n    return (x * factor)  # the same"), "answer", "changes nothing"),
        (fenced("class Other(nn.Module):\n    pass"), "answer", "Nothing in the program uses `Other`"),
        (fenced(f"{SCALE}\nclass Other(nn.Module):\n    pass"), "answer", "Nothing in the program uses `Other`"),
        (fenced("def helper():\n    return 1"), "answer", "Nothing in the program uses `helper`"),
        (fenced("class Gate(nn.Module):\n    ..."), "contract", "body of `Gate` is left out"),
        (fenced(NET.replace("return self.head(x)", "...")), "contract", "body of `forward` is left out"),
        (fenced("def build_model(num_classes, in_channels):\n    return 1"), "contract", "`build_model` is frozen"),
        (fenced(f"{SCALE}\ntorch.manual_seed(0)"), "contract", "side effects"),
        (fenced(f"{SCALE}\nGate.ratio = 4"), "contract", "side effects"),
        (fenced("def scale(x, factor=2.0):\n    return np.abs(x)"), "contract", "`np` is not defined"),
        (fenced("import not_there\ndef scale(x, factor=2.0):\n    return not_there.f(x)"), "contract", "`not_there` is not inst"),
        (fenced("from math import *\ndef scale(x, factor=2.0):\n    return x"), "contract", "Star imports"),
        (fenced("def scale(x, factor, power):\n    return x"), "contract", "`Net` calls `scale(self.gate(x))`"),
        (fenced("def Gate(channels, ratio=3):\n    return None"), "contract", "`Gate` must stay a class: `Net` still uses it"),
        (fenced("class Gate(nn.Module):\n    def __init__(self, ratio):\n        super().__init__()\n    def forward(self, x):\n"
                "        return x"), "contract", "`channels` must stay at position 2 under this name: `Net` still uses"),
        (fenced(NET.replace("classes", "classes, width")), "contract", "`build_model` calls `Net(num_classes)`"),
        (fenced("def loss(logits):\n    return logits.sum()"), "contract", "called by the framework with 2 arguments"),
        (fenced(NET.replace("(self, classes)", "(self, classes, first=Later)") + "\nclass Later(Net):\n    pass"), "contract",
         "needs `Later` while the file is imported"),
        (fenced("WIDTH, OTHER = 3, 4\n" + NET.replace("WIDTH", "OTHER")), "contract", None),
    ],
)  # fmt: skip
def test_an_unusable_answer_is_refused_with_the_reason(editor, reply, stage, reason):
    result = editor.apply(NET_GENOME, (), reply)
    if reason is None:  # a constant may come back together with another one
        assert "WIDTH, OTHER = 3, 4" in text(result)
        return
    found, reasons = refused(result)
    assert found == stage
    assert reason in reasons


def test_a_block_is_free_where_the_answer_holds_all_its_call_sites(editor):
    net = NET.replace("super().__init__()", "super().__init__()\n        self.gate = Gate(2, WIDTH, slope=0.1)")
    code = f"""
class Gate(nn.Module):
    def __init__(self, depth, channels, *, slope):
        super().__init__()
        self.depth, self.slope = depth, slope

    def forward(self, x, times):
        return x * self.slope * times

{net.replace("(x)", "(self.gate(x, 3))")}
"""
    new = text(apply_freely(editor, code))
    assert "def __init__(self, depth, channels, *, slope):" in new
    reasons = refused(apply_freely(editor, code.replace(", slope=0.1", "")))[1]
    assert "`Net` calls `Gate(2, WIDTH)`, which does not fit: missing a required argument: 'slope'." in reasons


def test_parameters_that_no_call_outside_of_the_answer_gives_may_go(editor):
    assert "def scale(x):\n    return -x\n" in text(apply_freely(editor, "def scale(x):\n    return -x"))
    source = NET_MODEL.replace("scale(self.gate(x))", "scale(self.gate(x), factor=3.0)")
    reasons = refused(apply_freely(editor, "def scale(x):\n    return -x", Genome({"model.py": source})))[1]
    assert "does not fit: got an unexpected keyword argument 'factor'" in reasons


def test_an_entry_point_that_may_evolve_keeps_its_parameters(editor):
    code = "def build_model(classes, channels):\n    return Net(classes)"
    assert "`num_classes` must stay at position 1" in refused(apply_freely(editor, code, Genome({"model.py": NET_MODEL})))[1]


def test_only_names_that_the_task_calls_are_entry_points(editor):
    """`loss` with three arguments is an ordinary function where the task does not call it by that name."""
    code = "def loss(a, b, c):\n    return a\n\n\ndef scale(x, factor=2.0):\n    return loss(x, 1, 2)"
    assert "called by the framework with 2 arguments" in refused(apply_freely(editor, code))[1]
    own = Genome({"model.py": NET_MODEL}, entry_points=frozenset({"build_model", "scale"}))
    assert "def loss(a, b, c):" in text(apply_freely(editor, code, own))
    assert "Nothing in the program uses `augment`" in refused(apply_freely(editor, "def augment(x):\n    return x", own))[1]
    assert "`factor` must stay at position 2" in refused(apply_freely(editor, "def scale(x):\n    return -x", own))[1]
