"""Before and after, as text: what an answer that may change several blocks makes of a program."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.genome import Editor, Genome, Violations, changed_blocks
from agent.genome.edit_program import edit_program
from tests.genome.programs import NET, NET_GENOME, NET_MODEL, SCALE, answer, apply_freely, fenced, refused, text


def test_definitions_replace_those_of_the_same_name_and_all_else_stays(editor):
    old_gate = NET_MODEL[NET_MODEL.index("class Gate") : NET_MODEL.index("\n\n\nclass Spare")]
    gate = old_gate.replace("   # two spaces  here", "").replace("x * ", "")
    new = text(apply_freely(editor, f"{SCALE}\n\n{gate}"))
    changed = old_gate.replace("x * ", "")  # the comment beside code that stays is no part of the change
    assert new == NET_MODEL.replace(old_gate, changed).replace("return x * factor", "return x + factor")


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
    new = text(apply_freely(editor, code))
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
    new = text(apply_freely(editor, code))
    assert new.index("class Net") < new.index("class Child(Net)") < new.index("def build_model")


def test_what_nothing_uses_any_more_goes_but_not_what_nothing_used_before(editor):
    code = f"SIZE = 12\n{NET.replace('WIDTH', 'SIZE')}"
    new = text(apply_freely(editor, code))
    for gone in ("WIDTH", "class Gate", "gates the channels", "def scale", "Doubles"):
        assert gone not in new
    assert '"""Nothing uses it."""' in new
    assert "def build_model" in new
    assert "\n\n\n\n" not in new


def test_entry_points_and_what_frozen_blocks_mention_are_never_dropped(editor):
    source = NET_MODEL + "\n\ndef loss(logits, labels):\n    return scale(logits)\n\n\ndef keep():\n    return Gate\n"
    genome = Genome({"model.py": source}, frozenset({"build_model", "keep"}))
    new = text(apply_freely(editor, NET, genome))
    assert "def loss" in new and "def scale" in new and "def keep" in new and "class Gate" in new


def test_a_constant_is_replaced_in_its_place(editor):
    assert text(apply_freely(editor, "WIDTH = 24")) == NET_MODEL.replace("WIDTH = 8", "WIDTH = 24")


def test_what_the_answer_repeats_is_ignored_the_whole_program_too(editor):
    pasted = NET_MODEL.replace("x * factor", "x - factor").replace("# gates the channels.", "# other words")
    code = f"{pasted}\n\nif __name__ == '__main__':\n    print(build_model(2, 1))"
    assert text(apply_freely(editor, code)) == NET_MODEL.replace("x * factor", "x - factor")


def test_code_on_import_that_stands_in_the_program_may_be_repeated(editor):
    source = NET_MODEL.replace("WIDTH = 8", "torch.set_num_threads(1)\nWIDTH = 8")
    code = source.replace("x * factor", "x - factor")
    assert text(apply_freely(editor, code, Genome({"model.py": source}))) == code


def test_demonstrations_are_dropped(editor):
    code = f"{SCALE}\nmodel = build_model(2, 1)\nprint(model)"
    assert text(apply_freely(editor, code)) == NET_MODEL.replace("x * factor", "x + factor")


def test_other_line_endings_survive(editor):
    new = text(apply_freely(editor, NET, Genome({"model.py": NET_MODEL.replace("\n", "\r\n")}, NET_GENOME.frozen)))
    assert "\r\nclass Net(nn.Module):\r\n" in new and "\n" not in new.replace("\r\n", "")


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
    new = apply_freely(editor, code, SEVERAL)
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
    in_doubt = "`model.py` and `pkg/parts.py` both have a `shared`: put the comment line"
    assert in_doubt in refused(apply_freely(editor, code, SEVERAL))[1]
    new = apply_freely(editor, f"# pkg/parts.py\n{code}", SEVERAL)
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
    new = apply_freely(editor, code, SEVERAL)
    assert not isinstance(new, Violations), new.reasons
    assert dict(new.files) == {
        "model.py": "from pkg.parts import Net, make\n\n\ndef build_model(n, c):\n    return Net(n)\n\n\n"
        "def loss(a, b):\n    return make(a)\n",
        "pkg/parts.py": "import math\n\n\ndef make(n):\n    return Net(n)\n\n\nclass Net:\n    def __init__(self, n):\n"
        "        self.n = n\n",
    }


SHARED = Editor(seconds=30.0)
"""For tests by hypothesis, which cannot use the fixture."""


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
    source = NET_MODEL.replace("class Spare", "\n".join(padding) + "\nclass Spare")
    wanted = source
    for old, new in changed.items():
        wanted = wanted.replace(old, new)
    parts = [block.source for block in Genome({"model.py": wanted}).all_blocks]
    parts += [line for line in wanted.splitlines() if line.startswith("WIDTH")]
    rng.shuffle(parts)
    genome = Genome({"model.py": source}, NET_GENOME.frozen)
    assert text(SHARED.apply(genome, (), fenced("\n\n".join(parts)))) == wanted


def test_constants_in_a_tuple_are_constants_too():
    files = {"a.py": "b1, b2 = 0.9, 0.95\nlr = 0.1\n\n\ndef f():\n    return b1, b2, lr\n"}
    edited = edit_program(files, ["constants"], "```python\nb1, b2 = 0.9, 0.95\nlr = 0.3\n```", (), ("f",))
    assert edited == {"a.py": files["a.py"].replace("0.1", "0.3")}
    edited = edit_program(files, ["constants"], "```python\nb1, b2 = 0.8, 0.99\n```", (), ("f",))
    assert edited == {"a.py": files["a.py"].replace("0.9, 0.95", "0.8, 0.99")}
