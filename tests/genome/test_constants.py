"""Module-level constants: what counts as one, how they are rewritten together, and code at the top level that is fixed."""

import random

import pytest

from agent.core.errors import UserError
from agent.genome import Editor, Genome, Violations, changed_names, fixed_titles, read_genome
from agent.genome.rewrites import mutate

PROGRAM = """\
import torch
from torch import nn

# the width
WIDTH = 16
RATES = [0.1, 0.01]
DEVICE = torch.device("cpu")
TABLE = {}
best = 1e9
step = 0
lr = 0.1
lr = lr / 2


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, WIDTH)

    def forward(self, x):
        return self.a(x) * RATES[0] + lr


def main(epochs=3):
    global step
    step += epochs
    print("loss:", step, TABLE, DEVICE, best)


for epoch in range(3):
    best = min(best, epoch)

if __name__ == "__main__":
    net = Net()
    main()
"""


@pytest.fixture(scope="module")
def editor():
    editor = Editor()
    yield editor
    editor.close()


@pytest.fixture
def genome():
    return Genome({"train.py": PROGRAM}, entry_points=frozenset({"main"}))


def fenced(code):
    return f"```python\n{code}\n```"


def test_a_constant_is_bound_once_to_a_value_that_is_written_out(genome):
    assert [(one.name, one.kind) for one in genome.constants] == [("WIDTH", "constant"), ("RATES", "constant")]
    (group,) = genome.constant_groups
    assert (group.name, group.source) == ("constants", "# the width\nWIDTH = 16\nRATES = [0.1, 0.01]\n")
    assert genome.block("constants") == group and genome.block("WIDTH").source.endswith("WIDTH = 16\n")
    assert "WIDTH" not in [block.name for block in genome.all_blocks]


def test_an_answer_changes_constants_and_they_are_named(genome, editor):
    edited = editor.apply(genome, ("constants",), fenced("WIDTH = 32"))
    assert edited.files["train.py"] == PROGRAM.replace("WIDTH = 16", "WIDTH = 32")
    assert changed_names(genome, edited) == ("WIDTH",)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("WIDTH = 32\n\ndef main():\n    pass", "Only constants may change: leave `main` out."),
        ("HEIGHT = 3", "Only constants may change: leave `HEIGHT` out."),
        ("lr = 3", "Only constants may change: leave `lr` out."),
        ("WIDTH = 16", "The answer changes nothing"),
    ],
)
def test_an_answer_about_constants_changes_nothing_else(genome, editor, code, reason):
    refused = editor.apply(genome, ("constants",), fenced(code))
    assert isinstance(refused, Violations) and reason in refused.reasons[0]


def test_constants_can_be_frozen_each_or_all(editor, tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    one = read_genome(tmp_path, ["train.py"], ["WIDTH"])
    assert one.constant_groups[0].source == "RATES = [0.1, 0.01]\n"
    for names in (("constants",), ()):
        refused = editor.apply(one, names, fenced("WIDTH = 32\nRATES = [0.2]"))
        assert refused.reasons == ("`WIDTH` is frozen: leave it out.",)
    assert read_genome(tmp_path, ["train.py"], ["constants"]).constant_groups == ()
    with pytest.raises(UserError, match="frozen names no block"):
        read_genome(tmp_path, ["train.py"], ["HEIGHT"])


def test_in_several_files_the_constants_of_one_are_meant(editor):
    genome = Genome({"a.py": "N = 1\n\n\ndef f():\n    return N\n", "b.py": "N = 2\n\n\ndef g():\n    return N\n"})
    edited = editor.apply(genome, ("b.py:constants",), fenced("N = 5"))
    assert changed_names(genome, edited) == ("b.py:N",)


@pytest.mark.parametrize("names", [(), ("main",)])
@pytest.mark.parametrize(
    "code",
    [
        'if __name__ == "__main__":\n    net = Net()\n    main(epochs=9)',
        "for epoch in range(3):\n    best = 0",
    ],
)
def test_code_at_the_top_level_is_fixed_and_an_answer_that_changes_it_is_sent_back(genome, editor, names, code):
    main = "def main(epochs=3):\n    print('loss:', epochs)\n\n\n"
    refused = editor.apply(genome, names, fenced(main + code))
    assert isinstance(refused, Violations) and "is fixed: leave it out" in refused.reasons[0]


def test_a_demonstration_or_a_copy_of_the_fixed_code_changes_nothing(genome, editor):
    main = "def main(epochs=4):\n    print('loss:', epochs)\n\n\n"
    edited = editor.apply(genome, (), fenced(main + PROGRAM[PROGRAM.index("if __name__") :]))
    assert not isinstance(edited, Violations)
    without_guard = Genome({"m.py": "def main():\n    return 1\n"}, entry_points=frozenset({"main"}))
    edited = editor.apply(without_guard, (), fenced("def main():\n    return 2\n\nif __name__ == '__main__':\n    main()"))
    assert not isinstance(edited, Violations) and "__name__" not in edited.files["m.py"]
    assert fixed_titles(PROGRAM) == ["for epoch in range(3):", "if __name__ == '__main__':"]


def test_a_name_that_is_bound_twice_is_edited_where_it_was_meant_or_refused(editor):
    text = "def f(x):\n    return x\n\n\nf = print(f) or f\n\n\ndef g():\n    return 1\n\n\ndef g():\n    return f(2)\n"
    genome = Genome({"m.py": text}, entry_points=frozenset({"g"}))
    edited = editor.apply(genome, (), fenced("def f(x):\n    return x + 1"))
    assert edited.files["m.py"] == text.replace("return x\n", "return x + 1\n")
    refused = editor.apply(genome, (), fenced("def g():\n    return 5"))
    assert "`g` is bound 2 times at the top of the file" in refused.reasons[0]
    assert [block.name for block in genome.blocks] == ["f"]


def test_the_offline_model_scales_settings_and_nothing_else():
    source = "EPOCHS = 3\nnum_classes = 10\nSEED = 7\nlearning_rate = 0.01  # per step\nhidden_dim = 64\n"
    seen = set()
    for seed in range(40):
        change = mutate(source, "parameters", random.Random(seed))
        assert change.source.splitlines()[:3] == source.splitlines()[:3] and "# per step" in change.source
        seen.add(change.description.split()[1])
    assert seen == {"learning_rate", "hidden_dim"}
    assert mutate("EPOCHS = 3\n", "parameters", random.Random(0)) is None
