import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UserError
from agent.genome import Genome, call_sites, diff, read_genome, signatures
from agent.resources import seeds_folder

SOURCE = '''\
"""Doc."""
import math

# above
@decorated
class A(Base):
    """Says what."""

    def f(self, x: int = 3) -> int:
        return x  # same


def helper(a, *, b=1):
    """Only a docstring."""


async def later():
    return A().f(helper(1))


X = math.pi
'''


def test_blocks_take_their_decorators_and_comments():
    a, helper, later = Genome({"m.py": SOURCE}).blocks
    assert (a.name, a.kind, later.kind) == ("A", "class", "function")
    assert a.source.startswith("# above\n@decorated\nclass A") and a.source.endswith("# same\n")
    assert helper.source.startswith("def helper")


def test_frozen_blocks_do_not_evolve_but_can_be_read():
    genome = Genome({"m.py": SOURCE}, frozenset({"A"}))
    assert [b.name for b in genome.blocks] == ["helper", "later"]
    assert genome.block("A").kind == "class"
    with pytest.raises(KeyError):
        genome.block("B")


@pytest.mark.parametrize(
    "edited",
    [
        SOURCE.replace("# same", "# other"),
        SOURCE.replace('    """Says what."""\n\n', ""),
        SOURCE.replace("return x  ", "return (x)"),
        SOURCE.replace("\n", "\r\n"),
        SOURCE.replace('    """Only a docstring."""', "    pass"),
    ],
)
def test_fingerprint_ignores_words_and_spacing(edited):
    assert edited != SOURCE
    assert Genome({"m.py": edited}).fingerprint == Genome({"m.py": SOURCE}).fingerprint


@given(st.integers(0, 99).filter(lambda n: n != 3))
def test_fingerprint_sees_a_changed_number(number):
    assert Genome({"m.py": SOURCE.replace("= 3", f"= {number}")}).fingerprint != Genome({"m.py": SOURCE}).fingerprint


def test_fingerprint_knows_files_apart():
    assert Genome({"a.py": SOURCE}).fingerprint != Genome({"b.py": SOURCE}).fingerprint


def test_signatures_leave_bodies_and_the_shown_block_out():
    assert signatures(Genome({"m.py": SOURCE}), without=["A"]) == (
        "import math\ndef helper(a, *, b=1): ...\nasync def later(): ...\nX = math.pi"
    )
    assert "    def f(self, x: int=3) -> int: ..." in signatures(Genome({"m.py": SOURCE}))


def test_callers_are_the_lines_that_use_a_block():
    assert call_sites(Genome({"m.py": SOURCE}), "A") == "# in later\nreturn A().f(helper(1))"
    assert call_sites(Genome({"m.py": SOURCE}), "later") == ""


def test_a_diff_can_be_applied_by_git(tmp_path):
    new = SOURCE.replace("return x", "return -x").rstrip("\n")
    (tmp_path / "m.py").write_text(SOURCE)
    patch = diff(Genome({"m.py": SOURCE}), Genome({"m.py": new}))
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "m.py").read_text() == new
    assert diff(Genome({"m.py": new}), Genome({"m.py": new})) == ""


@pytest.mark.parametrize(
    ("files", "frozen", "message"),
    [
        ({"model.py": b"def f(:\n"}, (), "model.py is not valid Python: line 1"),
        ({"model.py": b"x = 1\n"}, (), "no blocks"),
        ({"model.py": b"def f(): pass\n"}, ("f",), "no blocks"),
        ({"model.py": b"def f(): pass\n"}, ("g",), "frozen names no block of the seed: g"),
        ({"model.py": b"\xff\xfe"}, (), "not UTF-8"),
        ({}, (), "does not exist"),
    ],
)
def test_a_bad_seed_is_one_sentence(tmp_path, files, frozen, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_genome(tmp_path, ["model.py"], frozen)


def test_a_seed_stays_in_its_folder(tmp_path):
    (tmp_path / "seed").mkdir()
    (tmp_path / "outside.py").write_text("def f(): pass\n")
    with pytest.raises(UserError, match="outside"):
        read_genome(tmp_path / "seed", ["../outside.py"])


def live(*texts, frozen=()):
    genome = Genome({f"m{number}.py": text for number, text in enumerate(texts)}, frozenset(frozen))
    return [block.name.rpartition(":")[2] for block in genome.live_blocks]


USED_AND_UNUSED = """
class Gate: pass
class Unused:
    part = Gate
class Net:
    def __init__(self, gate=Gate): ...
def build_model(num_classes, in_channels): return Net()
"""


def test_a_block_that_nothing_leads_to_is_not_live():
    assert live(USED_AND_UNUSED) == ["Gate", "Net", "build_model"]
    assert live(USED_AND_UNUSED, frozen=["build_model"]) == ["Gate", "Net"]


def test_the_shipped_seed_has_one_dead_class():
    genome = read_genome(seeds_folder() / "exquisitenet_v2", ["model.py"], ["build_model"])
    assert {b.name for b in genome.blocks} - {b.name for b in genome.live_blocks} == {"SE"}


@pytest.mark.parametrize(
    "line",
    [
        "GATES = {'one': Unused}",
        "if True:\n    Net.gate = Unused",
        "def loss(logits, labels): return Unused",
        "def augment(images, generator: 'Unused'): return images",
        "@register(Unused)\ndef other(): ...",
        "class Child(Unused): ...\nNet.child = Child",
        "build_optimizer = lambda model, steps: Unused",
        "import self\ndef loss(a, b): return self.Unused",
        "from self import Unused as U\ndef loss(a, b): return U",
        "def loss(a, b): return globals()['Unused']",
    ],
)
def test_a_reference_of_any_kind_keeps_a_block_alive(line):
    assert "Unused" in live(f"{USED_AND_UNUSED}\n{line}\n")


def test_importing_a_block_is_not_using_it():
    layers = "class A: ...\nclass B: ..."
    entry = "from m1 import A\nfrom m1 import B\ndef build_model(n, c): return A()"
    assert live(entry, layers) == ["build_model", "A"]


def test_a_decorated_block_may_be_found_through_its_decorator():
    assert "Unused" in live(USED_AND_UNUSED.replace("class Unused", "@register\nclass Unused"))


def test_all_blocks_are_live_where_life_cannot_be_told():
    assert live("class A: ...\ndef b(): ...") == ["A", "b"]
    assert live("class A: ...\ndef build_model(n, c): ...", frozen=["build_model"]) == ["A"]
