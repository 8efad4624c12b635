"""Which blocks are reachable from a program's entry points."""

import pytest

from agent.core.paths import seeds_folder
from agent.genome import Genome, read_genome


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


def test_all_blocks_count_as_live_if_liveness_cannot_be_determined():
    assert live("class A: ...\ndef b(): ...") == ["A", "b"]
    assert live("class A: ...\ndef build_model(n, c): ...", frozen=["build_model"]) == ["A"]
