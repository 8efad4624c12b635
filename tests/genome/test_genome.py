"""Blocks, fingerprints, and reading a seed's files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import UserError
from agent.genome import Genome, read_genome
from tests.genome.programs import SMALL_MODULE


def test_blocks_take_their_decorators_and_comments():
    a, helper, later = Genome({"m.py": SMALL_MODULE}).blocks
    assert (a.name, a.kind, later.kind) == ("A", "class", "function")
    assert a.source.startswith("# above\n@decorated\nclass A") and a.source.endswith("# same\n")
    assert helper.source.startswith("def helper")


def test_frozen_blocks_do_not_evolve_but_can_be_read():
    genome = Genome({"m.py": SMALL_MODULE}, frozenset({"A"}))
    assert [b.name for b in genome.blocks] == ["helper", "later"]
    assert genome.block("A").kind == "class"
    with pytest.raises(KeyError):
        genome.block("B")


@pytest.mark.parametrize(
    "edited",
    [
        SMALL_MODULE.replace("# same", "# other"),
        SMALL_MODULE.replace('    """Says what."""\n\n', ""),
        SMALL_MODULE.replace("return x  ", "return (x)"),
        SMALL_MODULE.replace("\n", "\r\n"),
        SMALL_MODULE.replace('    """Only a docstring."""', "    pass"),
    ],
)
def test_fingerprint_ignores_words_and_spacing(edited):
    assert edited != SMALL_MODULE
    assert Genome({"m.py": edited}).fingerprint == Genome({"m.py": SMALL_MODULE}).fingerprint


@given(st.integers(0, 99).filter(lambda n: n != 3))
def test_fingerprint_sees_a_changed_number(number):
    assert Genome({"m.py": SMALL_MODULE.replace("= 3", f"= {number}")}).fingerprint != Genome({"m.py": SMALL_MODULE}).fingerprint


def test_fingerprint_knows_files_apart():
    assert Genome({"a.py": SMALL_MODULE}).fingerprint != Genome({"b.py": SMALL_MODULE}).fingerprint


@pytest.mark.parametrize(
    ("files", "frozen", "message"),
    [
        ({"model.py": b"def f(:\n"}, (), "model.py is not valid Python: line 1"),
        ({"model.py": b"import sys\nprint(1)\n"}, (), "no blocks"),
        ({"model.py": b"def f(): pass\n"}, ("f",), "no blocks"),
        ({"model.py": b"def f(): pass\n"}, ("g",), "frozen names no block of the seed: g"),
        ({"model.py": b"\xff\xfe"}, (), "is UTF-16 text: save it as UTF-8"),
        ({"model.py": b"x = '\xe9'\n"}, (), "is not UTF-8 text"),
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
