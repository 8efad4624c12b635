"""Before and after, as text: what an answer makes of a file."""

import contextlib
import os
import signal
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import MachineError
from agent.genome import Editor, Genome, Violations

MODEL = '''\
"""A small model."""
import torch
from torch import nn

WIDTH = 8


# Squeeze and excitation:
# gates the channels.
class Gate(nn.Module):
    def __init__(self, channels, ratio=3):
        super().__init__()
        self.fc = nn.Linear(channels, channels)   # two spaces  here

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]


@torch.no_grad()
def scale(x, factor=2.0):
    return x * factor


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.gate = Gate(WIDTH, ratio=2)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(scale(self.gate(x), 3.0).mean((2, 3)))


def build_model(num_classes, in_channels):
    return Net(num_classes)
'''


@pytest.fixture(scope="module")
def editor():
    editor = Editor()
    yield editor
    editor.close()


def answer(code):
    return f"Intention: test.\nExpected effect: none.\n\n```python\n{textwrap.dedent(code).strip()}\n```\n"


def apply(editor, code, block="Gate", source=MODEL):
    return editor.apply(Genome({"model.py": source}), (block,), answer(code))


def text(genome):
    assert not isinstance(genome, Violations), genome.reasons
    return genome.files["model.py"]


NEW_GATE = """
    class Gate(nn.Module):
        def __init__(self, channels, ratio=3):
            super().__init__()

        def forward(self, x):
            return x * 0.5
"""


def test_only_the_block_changes_and_its_comments_stay(editor):
    head, _, rest = MODEL.partition("class Gate")
    tail = rest[rest.index("\n\n\n@torch") :]
    assert text(apply(editor, NEW_GATE)) == head + textwrap.dedent(NEW_GATE).strip() + tail


def test_a_function_with_a_decorator(editor):
    new = text(apply(editor, "@torch.no_grad()\ndef scale(x, factor=2.0):\n    return x + factor", "scale"))
    assert new == MODEL.replace("return x * factor", "return x + factor")


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
    new = text(apply(editor, code, "scale"))
    assert new.startswith(
        '"""A small model."""\nfrom __future__ import annotations\nimport torch\nfrom torch import nn\n'
        "import math\nimport torch.nn.functional as F\n"
    )
    assert "\n\nSLOPE = 0.1\n\n\ndef squash(x):\n    return F.leaky_relu(x, SLOPE) / math.pi\n\n\ndef scale(" in new
    assert new.count("import torch\n") == 1


def test_an_import_that_the_answer_forgot_is_added_where_its_name_leaves_no_doubt(editor):
    code = "def scale(x, factor=2.0):\n    return F.relu(x) * factor * math.pi"
    new = text(apply(editor, code, "scale"))
    assert "\nimport math\n" in new and "\nimport torch.nn.functional as F\n" in new
    assert new.count("from torch import nn\n") == 1
    own = "class math:\n    pi = 3\ndef scale(x, factor=2.0):\n    return x * math.pi"
    assert "import math" not in text(apply(editor, own, "scale"))
    assert "`scipy` is not defined" in " ".join(apply(editor, code.replace("math", "scipy"), "scale").reasons)


def test_what_the_answer_repeats_unchanged_is_ignored(editor):
    repeated = MODEL.replace("return x * factor", "return x - factor").replace("# gates the channels.", "# other words")
    new = text(apply(editor, repeated, "scale"))
    assert new == MODEL.replace("return x * factor", "return x - factor")


def test_demonstrations_are_dropped(editor):
    code = NEW_GATE + '    print(Gate(3))\n    if __name__ == "__main__":\n        Gate(3)\n'
    assert "print" not in text(apply(editor, code))


@pytest.mark.parametrize("demonstration", ["x = Gate(8)(torch.zeros(2, 8))\n    print(x.shape)", "model: nn.Module = Gate(8)"])
def test_a_value_that_nothing_reads_is_a_demonstration(editor, demonstration):
    new = text(apply(editor, NEW_GATE + f"    {demonstration}\n"))
    assert "Gate(8)" not in new and "return x * 0.5" in new


def test_values_that_the_block_reads_stay_also_those_they_are_made_of(editor):
    code = "HALF = 0.5\nPOWER = HALF * 2\nUNREAD = 1\ndef scale(x, factor=2.0):\n    return x**POWER"
    assert "\n\nHALF = 0.5\n\n\nPOWER = HALF * 2\n\n\ndef scale(" in text(apply(editor, code, "scale"))


def test_a_value_that_the_framework_reads_stays(editor):
    code = "loss = nn.CrossEntropyLoss(label_smoothing=0.1)\ndef scale(x, factor=2.0):\n    return x + factor"
    assert "loss = nn.CrossEntropyLoss(label_smoothing=0.1)\n" in text(apply(editor, code, "scale"))


def test_other_line_endings_survive(editor):
    new = text(apply(editor, NEW_GATE, source=MODEL.replace("\n", "\r\n")))
    assert "\r\nclass Gate(nn.Module):\r\n" in new and "\n" not in new.replace("\r\n", "")


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
        ("import einops_that_is_not_there\ndef scale(x, factor=2.0):\n    return x", "scale", "is not installed"),
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
    result = apply(editor, code, block)
    assert isinstance(result, Violations) and result.stage == "contract"
    assert any(reason in r for r in result.reasons), result.reasons


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would rather not.", "no fenced Python block"),
        ("", "no fenced Python block"),
        ("```python\nclass Other:\n    pass\n```", "defines `Gate`"),
        ("```rust\nstruct Gate;\n```", "no fenced Python block"),
        ("```python\nclass Gate(nn.Module:\n    pass\n```", "line 1"),
        ("```python\nclass Gate:\n    x = '" + "a" * 5000 + "'\n```", "limit is"),
        ("x" * 200_001, "200,001 characters"),
        ("```python\nclass Gate:\n    x = '\0'\n```", "null bytes"),
    ],
)
def test_an_answer_without_usable_code_has_its_reason(editor, reply, reason):
    result = editor.apply(Genome({"model.py": MODEL}), ("Gate",), reply)
    assert isinstance(result, Violations) and result.stage == "answer"
    reasons = " ".join(result.reasons).replace("is the limit", "limit is")
    assert reason in reasons


BINDINGS = """
    def scale(x, factor=2.0):
        global LAST
        LAST = [y for y in (x, factor) if (first := y) is not None]
        try:
            import os.path as place
            with open(place.devnull) as file:
                text = file.read()
        except (OSError, ValueError) as error:
            text = str(error)

        class Local:
            here = __qualname__
            there = here

            def method(self, *rest, key=None, **more):
                return super().__repr__(), __class__, rest, more, later

        match text:
            case [head, *tail]:
                later = head, tail
            case {"a": value, **others}:
                later = value, others
            case _:
                later = None
        for x, (y, z) in ():
            del y
        return LAST, first, Local, lambda a: (a, z, scale, __name__, __file__)
"""


def test_every_way_to_bind_a_name_counts(editor):
    assert "match text" in text(apply(editor, BINDINGS, "scale"))


def fenced(code, marks="```", language="python"):
    return f"{marks}{language}\n{textwrap.dedent(code).strip()}\n{marks}\n"


@pytest.mark.parametrize(
    "reply",
    [
        fenced(NEW_GATE, "~~~"),
        fenced(NEW_GATE, language=""),
        fenced(NEW_GATE, language="py").replace("\n", "\r\n"),
        "First a sketch:\n" + fenced("class Gate(nn.Module):\n    ...") + "and now in full:\n" + fenced(NEW_GATE),
        fenced(NEW_GATE) + "Use it so:\n" + fenced("print(Gate(3))"),
        fenced(NEW_GATE).rsplit("```", 1)[0],
        textwrap.dedent(NEW_GATE),
    ],
)
def test_forms_of_answers(editor, reply):
    assert "return x * 0.5" in text(editor.apply(Genome({"model.py": MODEL}), ("Gate",), reply))


def test_a_helper_in_a_fence_of_its_own_belongs_to_the_block(editor):
    helper = fenced("def half(x):\n    return x * 0.5")
    block = fenced(NEW_GATE.replace("x * 0.5", "half(x)"))
    for reply in (f"A helper:\n{helper}\nand the block:\n{block}", f"{block}\nwith this helper:\n{helper}"):
        assert "def half(x)" in text(editor.apply(Genome({"model.py": MODEL}), ("Gate",), reply))


HOSTILE = {
    "parentheses": "x = " + "(" * 990 + "1" + ")" * 990,
    "minus": "\n".join(["x = " + "-" * 1900 + "1"] * 20),
    "elif": "if a:\n    pass\n" + "elif a:\n    pass\n" * 9000,
    "and": "x = (True\n" + "and True\n" * 18_000 + ")",
    "attributes": "x = (a\n" + ".b\n" * 5000 + ")",
    "calls": "x = (f\n" + "()\n" * 5000 + ")",
    "surrogate": "x = '\ud800'",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_a_violation_and_the_editor_goes_on(kind):
    editor = Editor(seconds=3.0)
    try:
        body = textwrap.indent(HOSTILE[kind], "    ")
        result = editor.apply(Genome({"model.py": MODEL}), ("scale",), fenced(f"def scale(x, factor=2.0):\n{body}\n    return x"))
        assert isinstance(result, Violations) or kind in ("surrogate",)
        assert "x + 1" in text(apply(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale"))
    finally:
        editor.close()


def test_what_the_child_worked_out_is_what_its_text_says(editor):
    genome = Genome({"model.py": MODEL})
    new = editor.apply(genome, ("scale",), answer("import math\ndef scale(x, factor=2.0):\n    return x + math.pi"))
    plain = Genome(new.files)
    assert vars(new).keys() >= {"fingerprint", "all_blocks", "live_names"}
    assert new.fingerprint == plain.fingerprint
    assert (new.all_blocks, new.live_blocks) == (plain.all_blocks, plain.live_blocks)
    assert new.block("Net") is genome.block("Net")


def test_edits_at_once_do_not_mix():
    editor = Editor(processes=3)
    try:
        with ThreadPoolExecutor(8) as pool:
            codes = [f"def scale(x, factor=2.0):\n    return x + {number}" for number in range(40)]
            edited = list(pool.map(lambda code: text(apply(editor, code, "scale")), codes))
        assert [f"return x + {number}\n" in new for number, new in enumerate(edited)] == [True] * 40
    finally:
        editor.close()


def test_several_files(editor):
    files = {
        "model.py": "from pkg.b import Net\n\n\ndef build_model(n, c):\n    return Net(n)\n",
        "pkg/b.py": "class Net:\n    def __init__(self, n):\n        self.n = n\n",
    }
    genome = Genome(files)
    assert [b.name for b in genome.blocks] == ["model.py:build_model", "pkg/b.py:Net"]
    new = editor.apply(genome, ("pkg/b.py:Net",), answer("class Net:\n    def __init__(self, n):\n        self.n = n + 1\n"))
    assert new.files["model.py"] == files["model.py"]
    assert new.files["pkg/b.py"].endswith("self.n = n + 1\n")


names = st.sampled_from(["Gate", "scale", "Net", "build_model"])


@settings(max_examples=12, deadline=None)
@given(names)
def test_replacing_a_block_by_itself_changes_no_byte(name):
    genome = Genome({"model.py": MODEL})
    assert text(SHARED.apply(genome, (name,), fenced(genome.block(name).source))) == MODEL


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e6, 1e6).map(repr), st.lists(st.sampled_from(["", "# a note", "    "]), max_size=4))
def test_nothing_outside_the_block_changes(number, padding):
    source = MODEL.replace("class Net", "\n".join(padding) + "\nclass Net")
    genome = Genome({"model.py": source})
    new = text(SHARED.apply(genome, ("scale",), fenced(f"def scale(x, factor=2.0):\n    return x * {number}")))
    old_block = "@torch.no_grad()\ndef scale(x, factor=2.0):\n    return x * factor\n"
    assert new == source.replace(old_block, f"def scale(x, factor=2.0):\n    return x * {number}\n")


SHARED = Editor()


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    SHARED.close()


def test_a_killed_child_is_replaced():
    editor = Editor()
    try:
        assert "x + 1" in text(apply(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale"))
        child = next(child.process for child in editor._processes if child.process)
        child.kill()
        child.wait()
        assert "x + 2" in text(apply(editor, "def scale(x, factor=2.0):\n    return x + 2", "scale"))
    finally:
        editor.close()


def test_a_child_that_is_killed_in_the_middle_of_an_edit_does_not_count_against_the_answer():
    editor = Editor(processes=1)
    try:
        apply(editor, "def scale(x, factor=2.0):\n    return x + 1", "scale")
        (child,) = editor._processes
        os.kill(child.process.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            edit = threads.submit(apply, editor, "def scale(x, factor=2.0):\n    return x + 3", "scale")
            while not editor._idle.empty():
                time.sleep(0.001)
            child.process.kill()
            assert "x + 3" in text(edit.result())
    finally:
        editor.close()


def test_a_child_that_is_killed_while_it_starts_is_started_again():
    editor = Editor(processes=1)
    tasks = Path("/proc/self/task")

    def started():
        """The process that the edit has just started, before it is ready."""
        while True:
            for children in tasks.glob("*/children"):
                for pid in children.read_text().split():
                    with contextlib.suppress(OSError):
                        if b"agent.genome.editor_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                            return int(pid)

    try:
        with ThreadPoolExecutor(1) as threads:
            edit = threads.submit(apply, editor, "def scale(x, factor=2.0):\n    return x + 4", "scale")
            first = started()
            os.kill(first, signal.SIGKILL)
            assert "x + 4" in text(edit.result())
        (child,) = editor._processes
        assert child.process.pid != first
    finally:
        editor.close()


def test_a_child_that_never_comes_up_is_the_machines_fault(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MachineError, match="died 3 times before it was ready"):
        apply(Editor(processes=1), "def scale(x, factor=2.0):\n    return x + 5", "scale")
