"""Before and after, as text: what an answer to a prompt for one block makes of a file."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.genome import Editor, Genome
from tests.genome.programs import GATE_MODEL, NEW_GATE, apply_block, fenced, text


def test_only_the_block_changes_and_its_comments_stay(editor):
    head, _, rest = GATE_MODEL.partition("class Gate")
    tail = rest[rest.index("\n\n\n@torch") :]
    assert text(apply_block(editor, NEW_GATE)) == head + textwrap.dedent(NEW_GATE).strip() + tail


def test_a_function_with_a_decorator(editor):
    new = text(apply_block(editor, "@torch.no_grad()\ndef scale(x, factor=2.0):\n    return x + factor", "scale"))
    assert new == GATE_MODEL.replace("return x * factor", "return x + factor")


def test_helpers_and_imports_are_merged(editor):
    code = """
        from __future__ import annotations
        import math
        import torch
        import torch.nn.functional as F
        from torch import nn

        SLOPE = 0.1

        def squash(x):
            return F.leaky_relu(x, SLOPE) / math.pi

        def scale(x, factor=2.0):
            return squash(x) * factor
    """
    new = text(apply_block(editor, code, "scale"))
    assert new.startswith(
        '"""A small model."""\nfrom __future__ import annotations\n\nimport math\n\nimport torch\n'
        "import torch.nn.functional as F\nfrom torch import nn\n"
    )
    assert "\n\nSLOPE = 0.1\n\n\ndef squash(x):\n    return F.leaky_relu(x, SLOPE) / math.pi\n\n\ndef scale(" in new
    assert new.count("import torch\n") == 1


def test_an_import_that_the_answer_forgot_is_added_where_its_name_leaves_no_doubt(editor):
    code = "def scale(x, factor=2.0):\n    return F.relu(x) * factor * math.pi"
    new = text(apply_block(editor, code, "scale"))
    assert "\nimport math\n" in new and "\nimport torch.nn.functional as F\n" in new
    assert new.count("from torch import nn\n") == 1
    own = "class math:\n    pi = 3\ndef scale(x, factor=2.0):\n    return x * math.pi"
    assert "import math" not in text(apply_block(editor, own, "scale"))
    assert "`scipy` is not defined" in " ".join(apply_block(editor, code.replace("math", "scipy"), "scale").reasons)


def test_what_the_answer_repeats_unchanged_is_ignored(editor):
    repeated = GATE_MODEL.replace("return x * factor", "return x - factor").replace("# gates the channels.", "# other words")
    new = text(apply_block(editor, repeated, "scale"))
    assert new == GATE_MODEL.replace("return x * factor", "return x - factor")


def test_demonstrations_are_dropped(editor):
    code = NEW_GATE + '    print(Gate(3))\n    if __name__ == "__main__":\n        Gate(3)\n'
    assert "print" not in text(apply_block(editor, code))


@pytest.mark.parametrize("demonstration", ["x = Gate(8)(torch.zeros(2, 8))\n    print(x.shape)", "model: nn.Module = Gate(8)"])
def test_a_value_that_nothing_reads_is_a_demonstration(editor, demonstration):
    new = text(apply_block(editor, NEW_GATE + f"    {demonstration}\n"))
    assert "Gate(8)" not in new and "return x * 0.5" in new


def test_values_that_the_block_reads_stay_also_those_they_are_made_of(editor):
    code = "HALF = 0.5\nPOWER = HALF * 2\nUNREAD = 1\ndef scale(x, factor=2.0):\n    return x**POWER"
    assert "\n\nHALF = 0.5\n\n\nPOWER = HALF * 2\n\n\ndef scale(" in text(apply_block(editor, code, "scale"))


def test_a_value_that_the_framework_reads_stays(editor):
    code = "loss = nn.CrossEntropyLoss(label_smoothing=0.1)\ndef scale(x, factor=2.0):\n    return x + factor"
    assert "loss = nn.CrossEntropyLoss(label_smoothing=0.1)\n" in text(apply_block(editor, code, "scale"))


def test_other_line_endings_survive(editor):
    new = text(apply_block(editor, NEW_GATE, source=GATE_MODEL.replace("\n", "\r\n")))
    assert "\r\nclass Gate(nn.Module):\r\n" in new and "\n" not in new.replace("\r\n", "")


SHARED = Editor(seconds=30.0)
"""For tests by hypothesis, which cannot use the fixture."""


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    SHARED.close()


names = st.sampled_from(["Gate", "scale", "Net", "build_model"])


@settings(max_examples=12, deadline=None)
@given(names)
def test_replacing_a_block_by_itself_changes_no_byte(name):
    genome = Genome({"model.py": GATE_MODEL})
    assert text(SHARED.apply(genome, (name,), fenced(genome.block(name).source))) == GATE_MODEL


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e6, 1e6).map(repr), st.lists(st.sampled_from(["", "# a note", "    "]), max_size=4))
def test_nothing_outside_the_block_changes(number, padding):
    source = GATE_MODEL.replace("class Net", "\n".join(padding) + "\nclass Net")
    genome = Genome({"model.py": source})
    new = text(SHARED.apply(genome, ("scale",), fenced(f"def scale(x, factor=2.0):\n    return x * {number}")))
    old_block = "@torch.no_grad()\ndef scale(x, factor=2.0):\n    return x * factor\n"
    assert new == source.replace(old_block, f"def scale(x, factor=2.0):\n    return x * {number}\n")
