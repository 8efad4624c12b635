"""Before and after, as text: what an answer that may change several blocks makes of a program."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.genome import Editor, Genome, Violations, changed_blocks

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
        return x * torch.sigmoid(self.fc(x))


class Spare(nn.Module):
    """Nothing uses it."""


# Doubles.
def scale(x, factor=2.0):
    return x * factor


class Net(nn.Module):
    def __init__(self, classes, make=Gate):
        super().__init__()
        self.gate = make(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(scale(self.gate(x)))


def build_model(num_classes, in_channels):
    return Net(num_classes)
'''
GENOME = Genome({"model.py": MODEL}, frozenset({"build_model"}))


@pytest.fixture(scope="module")
def editor():
    editor = Editor(seconds=30.0)
    yield editor
    editor.close()


def fenced(code):
    return f"```python\n{textwrap.dedent(code).strip()}\n```\n"


def apply(editor, code, genome=GENOME):
    return editor.apply(genome, (), f"Intention: test.\nExpected effect: none.\n\n{fenced(code)}")


def text(genome):
    assert not isinstance(genome, Violations), genome.reasons
    return genome.files["model.py"]


def refused(result):
    assert isinstance(result, Violations), dict(result.files)
    return result.stage, " ".join(result.reasons)


SCALE = "def scale(x, factor=2.0):\n    return x + factor"
NET = '''\
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(x)
'''


def test_definitions_replace_those_of_the_same_name_and_all_else_stays(editor):
    old_gate = MODEL[MODEL.index("class Gate") : MODEL.index("\n\n\nclass Spare")]
    gate = old_gate.replace("   # two spaces  here", "").replace("x * ", "")
    new = text(apply(editor, f"{SCALE}\n\n{gate}"))
    assert new == MODEL.replace(old_gate, gate).replace("return x * factor", "return x + factor")


def test_new_definitions_stand_where_the_answer_has_them(editor):
    code = f"""
import math
from torch.nn import functional as F

HALF = 0.5

def squash(x):
    return F.silu(x) * HALF

{SCALE.replace("x + factor", "squash(x) + factor")}

def augment(images, generator):
    return images
"""
    new = text(apply(editor, code))
    assert "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\nWIDTH = 8\n" in new
    scale = "def scale(x, factor=2.0):\n    return squash(x) + factor\n"
    above = "HALF = 0.5\n\n\ndef squash(x):\n    return F.silu(x) * HALF\n\n\n# Doubles.\n"
    assert f"\n\n\n{above}{scale}\n\ndef augment(images, generator):\n    return images\n\n\nclass Net" in new
    assert "math" not in new  # nothing reads it


def test_a_new_definition_stands_below_what_it_needs_on_import(editor):
    code = f"""
class Child(Net):
    pass

{SCALE}

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x):
        return self.head(scale(x))

def loss(logits, labels):
    return Child.part(logits, labels)
"""
    new = text(apply(editor, code))
    assert new.index("class Net") < new.index("class Child(Net)") < new.index("def build_model")


def test_what_nothing_uses_any_more_goes_but_not_what_nothing_used_before(editor):
    code = f"SIZE = 12\n{NET.replace('WIDTH', 'SIZE')}"
    new = text(apply(editor, code))
    for gone in ("WIDTH", "class Gate", "gates the channels", "def scale", "Doubles"):
        assert gone not in new
    assert '"""Nothing uses it."""' in new
    assert "def build_model" in new
    assert "\n\n\n\n" not in new


def test_entry_points_and_what_frozen_blocks_mention_are_never_dropped(editor):
    source = MODEL + "\n\ndef loss(logits, labels):\n    return scale(logits)\n\n\ndef keep():\n    return Gate\n"
    genome = Genome({"model.py": source}, frozenset({"build_model", "keep"}))
    new = text(apply(editor, NET, genome))
    assert "def loss" in new and "def scale" in new and "def keep" in new and "class Gate" in new


def test_a_constant_is_replaced_in_its_place(editor):
    assert text(apply(editor, "WIDTH = 24")) == MODEL.replace("WIDTH = 8", "WIDTH = 24")


def test_what_the_answer_repeats_is_ignored_the_whole_program_too(editor):
    pasted = MODEL.replace("x * factor", "x - factor").replace("# gates the channels.", "# other words")
    assert text(apply(editor, f"{pasted}\n\nif __name__ == '__main__':\n    print(build_model(2, 1))")) == MODEL.replace(
        "x * factor", "x - factor"
    )


def test_code_on_import_that_stands_in_the_program_may_be_repeated(editor):
    source = MODEL.replace("WIDTH = 8", "torch.set_num_threads(1)\nWIDTH = 8")
    code = source.replace("x * factor", "x - factor")
    assert text(apply(editor, code, Genome({"model.py": source}))) == code


def test_demonstrations_are_dropped(editor):
    assert text(apply(editor, f"{SCALE}\nmodel = build_model(2, 1)\nprint(model)")) == MODEL.replace("x * factor", "x + factor")


def test_of_several_fences_all_count_and_the_last_word_holds(editor):
    sketch = fenced("def scale(x, factor=2.0):\n    return -x\n\nWIDTH = 9")
    broken = "First an idea:\n```python\nclass Gate(nn.Module):\n    def forward(self, x) -> (\n```\n"
    new = text(editor.apply(GENOME, (), broken + sketch + "In full:\n" + fenced(SCALE)))
    assert new == MODEL.replace("x * factor", "x + factor").replace("WIDTH = 8", "WIDTH = 9")


def test_text_without_a_fence_is_code_if_it_compiles(editor):
    assert text(editor.apply(GENOME, (), SCALE)) == MODEL.replace("x * factor", "x + factor")


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
        (fenced(MODEL), "answer", "changes nothing"),
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
def test_an_answer_that_cannot_be_used_says_why(editor, reply, stage, reason):
    result = editor.apply(GENOME, (), reply)
    if reason is None:  # a constant may come back together with another one
        assert "WIDTH, OTHER = 3, 4" in text(result)
        return
    found, said = refused(result)
    assert found == stage
    assert reason in said


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
    new = text(apply(editor, code))
    assert "def __init__(self, depth, channels, *, slope):" in new
    said = refused(apply(editor, code.replace(", slope=0.1", "")))[1]
    assert "`Net` calls `Gate(2, WIDTH)`, which does not fit: missing a required argument: 'slope'." in said


def test_parameters_that_no_call_outside_of_the_answer_gives_may_go(editor):
    assert "def scale(x):\n    return -x\n" in text(apply(editor, "def scale(x):\n    return -x"))
    source = MODEL.replace("scale(self.gate(x))", "scale(self.gate(x), factor=3.0)")
    said = refused(apply(editor, "def scale(x):\n    return -x", Genome({"model.py": source})))[1]
    assert "does not fit: got an unexpected keyword argument 'factor'" in said


def test_an_entry_point_that_may_evolve_keeps_its_parameters(editor):
    said = refused(apply(editor, "def build_model(classes, channels):\n    return Net(classes)", Genome({"model.py": MODEL})))[1]
    assert "`num_classes` must stay at position 1" in said


FILES = {
    "model.py": "from pkg.parts import Net\n\n\ndef build_model(n, c):\n    return Net(n)\n\n\ndef shared():\n    return 1\n",
    "pkg/parts.py": (
        "import math\n\nWIDTH = 3\n\n\ndef shared():\n    return WIDTH\n\n\n"
        "class Net:\n    def __init__(self, n):\n        self.n = n + shared()\n"
    ),
}
SEVERAL = Genome(FILES, frozenset({"model.py:build_model"}))


def test_names_decide_which_file_changes_and_new_names_go_to_their_users(editor):
    code = """
from math import tau
WIDTH = 4
def helper(n):
    return tau * n
class Net:
    def __init__(self, n):
        self.n = helper(n) + shared() + math.pi
"""
    new = apply(editor, code, SEVERAL)
    assert not isinstance(new, Violations), new.reasons
    assert dict(new.files) == {
        "model.py": FILES["model.py"],
        "pkg/parts.py": "import math\nfrom math import tau\n\nWIDTH = 4\n\n\ndef shared():\n    return WIDTH\n\n\n"
        "def helper(n):\n    return tau * n\n\n\n"
        "class Net:\n    def __init__(self, n):\n        self.n = helper(n) + shared() + math.pi\n",
    }
    assert changed_blocks(SEVERAL, new) == ("pkg/parts.py:Net", "pkg/parts.py:helper")


def test_where_two_files_have_the_name_the_path_above_it_decides(editor):
    code = "def shared():\n    return -WIDTH"
    assert "`model.py` and `pkg/parts.py` both have a `shared`: put the comment line" in refused(apply(editor, code, SEVERAL))[1]
    new = apply(editor, f"# pkg/parts.py\n{code}", SEVERAL)
    assert new.files["model.py"] == FILES["model.py"]
    assert new.files["pkg/parts.py"] == FILES["pkg/parts.py"].replace("return WIDTH", "return -WIDTH")


def test_an_answer_may_change_both_files_and_imports_between_them(editor):
    code = """
from pkg.parts import make

# model.py
def loss(a, b):
    return make(a)

# pkg/parts.py
def make(n):
    return Net(n)

class Net:
    def __init__(self, n):
        self.n = n
"""
    new = apply(editor, code, SEVERAL)
    assert not isinstance(new, Violations), new.reasons
    assert dict(new.files) == {
        "model.py": "from pkg.parts import Net\nfrom pkg.parts import make\n\n\ndef build_model(n, c):\n    return Net(n)\n\n\n"
        "def loss(a, b):\n    return make(a)\n",
        "pkg/parts.py": "import math\n\n\ndef make(n):\n    return Net(n)\n\n\nclass Net:\n    def __init__(self, n):\n"
        "        self.n = n\n",
    }


def test_other_line_endings_survive(editor):
    new = text(apply(editor, NET, Genome({"model.py": MODEL.replace("\n", "\r\n")}, GENOME.frozen)))
    assert "\r\nclass Net(nn.Module):\r\n" in new and "\n" not in new.replace("\r\n", "")


SHARED = Editor(seconds=30.0)


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    SHARED.close()


changes = st.fixed_dictionaries(
    {},
    optional={
        "WIDTH = 8": st.integers(9, 99).map("WIDTH = {}".format),
        "return x * factor": st.floats(-9, 9).map("return x * factor + {!r}".format),
        "return x * torch.sigmoid(self.fc(x))": st.floats(0, 9).map("return x * {!r}".format),
        "return self.head(scale(self.gate(x)))": st.sampled_from(["y = scale(self.gate(x))\n        return self.head(y)"]),
    },
)


@settings(max_examples=25, deadline=None)
@given(changes.filter(bool), st.lists(st.sampled_from(["", "# a note", "    "]), max_size=3), st.randoms())
def test_only_the_lines_that_change_change(changed, padding, rng):
    """Whatever the answer repeats beside them, in whatever order."""
    source = MODEL.replace("class Spare", "\n".join(padding) + "\nclass Spare")
    wanted = source
    for old, new in changed.items():
        wanted = wanted.replace(old, new)
    parts = [block.source for block in Genome({"model.py": wanted}).all_blocks]
    parts += [line for line in wanted.splitlines() if line.startswith("WIDTH")]
    rng.shuffle(parts)
    genome = Genome({"model.py": source}, GENOME.frozen)
    assert text(SHARED.apply(genome, (), fenced("\n\n".join(parts)))) == wanted


def test_what_a_task_calls_is_its_own_affair(editor):
    """`loss` with three arguments is an ordinary function where the task does not call it by that name."""
    code = "def loss(a, b, c):\n    return a\n\n\ndef scale(x, factor=2.0):\n    return loss(x, 1, 2)"
    assert "called by the framework with 2 arguments" in refused(apply(editor, code))[1]
    own = Genome({"model.py": MODEL}, entry_points=frozenset({"build_model", "scale"}))
    assert "def loss(a, b, c):" in text(apply(editor, code, own))
    assert "Nothing in the program uses `augment`" in refused(apply(editor, "def augment(x):\n    return x", own))[1]
    assert "`factor` must stay at position 2" in refused(apply(editor, "def scale(x):\n    return -x", own))[1]
