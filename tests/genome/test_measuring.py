"""The blocks of a script that measure are found by what they print, compute and hold."""

from agent.genome import Genome
from agent.genome.measuring import measuring_blocks

SCRIPT = """
class Net(Module): pass
class Points(torch.utils.data.Dataset): pass
def estimate_loss(net): return net.loss()
def score(net): return 100.0 * right(net)
def train(net): print(f"step loss {net.loss()}")
def report(net):
    value = score(net)
    print(f"val acc: {value:.2f}")
"""


def test_blocks_that_print_compute_or_hold_the_data_are_found_and_others_are_not():
    found = measuring_blocks(Genome({"train.py": SCRIPT}), ["val_acc"])
    assert set(found) == {"Points", "estimate_loss", "score", "report"}


def test_nothing_is_frozen_where_nothing_else_could_evolve():
    assert measuring_blocks(Genome({"train.py": "def main():\n    print('acc: 1')\n"}), ["acc"]) == {}
