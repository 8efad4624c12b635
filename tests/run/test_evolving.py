"""The list at the start of a run: what evolves, what is frozen, what cannot evolve, and how to change it."""

import pytest

from agent.genome import Genome
from agent.journal.events import Advised, Told
from agent.run.config import Config, SeedSection
from agent.run.evolving import measurement_frozen, tell_what_evolves

SCRIPT = """
from base import Base
WIDTH = 8
EVAL_STEPS = 2
class Net(Base): pass
def twice(): pass
def twice(): pass
def evaluate(net): return net(EVAL_STEPS)
def main():
    print("acc:", evaluate(Net()))
if __name__ == "__main__":
    main()
"""


def told(source, frozen=None, task=None):
    section = SeedSection() if frozen is None else SeedSection(frozen=frozen)
    config = Config(seed=section, task=task or {"name": "script", "metrics": {"acc": "max"}})
    genome = Genome({"train.py": source}, frozenset(frozen or ()))
    config, genome, found = measurement_frozen(config, genome)
    lines = []
    tell_what_evolves(genome, found, lines.append)
    return config.seed.frozen, lines


def test_a_script_is_told_what_is_frozen_and_why_and_how_to_change_it():
    frozen, lines = told(SCRIPT)
    assert frozen == ("EVAL_STEPS", "evaluate", "main")
    assert [one.text for one in lines] == [
        "evolves: Net, constants (WIDTH)",
        "frozen, so that no change wins by another measurement: EVAL_STEPS (measures), evaluate (measures), main (prints acc); "
        "seed.frozen says what is: --set 'seed.frozen=[]' frees all",
        "cannot evolve: twice (defined 2 times); if __name__ == '__main__': (runs at the top level)",
    ]


@pytest.mark.parametrize("frozen", [(), ("main",)])
def test_what_the_user_says_is_frozen_alone_is(frozen):
    kept, lines = told(SCRIPT, frozen)
    assert kept == frozen
    assert [line.text for line in lines if line.text.startswith("frozen")] == ["frozen: main; by seed.frozen"][: len(frozen)]
    assert "evaluate" in lines[0].text


def test_a_script_of_which_all_measures_is_told_so_with_the_way_out():
    frozen, lines = told("def main():\n    print('acc: 1')\n")
    assert frozen == () and [type(line) for line in lines] == [Told, Advised]
    assert "main (prints acc); nothing else could evolve" in lines[1].text
    assert "a function of its own" in lines[1].text and "seed.frozen" in lines[1].text


def test_other_tasks_have_the_list_too():
    source = "def build_model(num_classes, in_channels): return Net()\nclass Net: pass\nclass Old: pass\nprint(1)\n"
    _, lines = told(source, task={"name": "image-classification"})
    assert [line.text for line in lines] == [
        "evolves: build_model, Net", "cannot evolve: Old (nothing uses it); print(1) (runs at the top level)"
    ]  # fmt: skip


def test_what_the_seed_breaks_is_in_the_list():
    _, lines = told("def build_model(a, b): return plt\n", task={"name": "image-classification"})
    assert lines[1].text == (
        "as the seed has it, and judged only for what an answer adds: train.py reads plt, which nothing in it binds"
    )
