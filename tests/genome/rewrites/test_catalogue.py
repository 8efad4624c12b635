"""The catalogue on real networks: what it writes must build, run and keep its shapes."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from agent.core.paths import seeds_folder
from agent.genome import Genome, Violations
from agent.genome.rewrites import CATALOGUE, merge, mutate, transfer
from agent.genome.rewrites.catalogue import apply_any

SEEDS = ("exquisitenet_v2", "tiny_cnn")
DIRECTIVES = ("parameters", "uncommon parameters", "complex", "reduce size", "uncommon", "significant")


def genome(seed):
    return Genome({"model.py": (Path(seeds_folder()) / seed / "model.py").read_text()}, frozenset({"build_model"}))


def build(text):
    space = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), space)
    return space, space["build_model"](10, 1)


def works(text):
    """Builds, trains one step and keeps the shape of its output; the number of parameters, or None."""
    torch.set_num_threads(1)
    try:
        space, model = build(text)
        optimizer, scheduler = space["build_optimizer"](model, 10)
        logits = model(torch.rand(4, 1, 8, 8))
        logits.square().mean().backward()
        optimizer.step()
        scheduler.step()
    except Exception:  # whatever a rewrite broke, it counts as not working
        return None
    return sum(p.numel() for p in model.parameters()) if tuple(logits.shape) == (4, 10) else None


def apply(editor, parent, block, change):
    code = f"{change.imports}\n\n\n{change.source}" if change.imports else change.source
    return editor.apply(parent, (block,), f"```python\n{code}\n```")


def test_the_catalogue_has_variety():
    assert len(CATALOGUE) >= 25
    assert len({r.name for r in CATALOGUE}) == len(CATALOGUE)
    assert {d for r in CATALOGUE for d in r.directives} == set(DIRECTIVES)


@pytest.mark.slow
def test_every_rewrite_applies_to_some_block_of_the_seeds_or_their_candidates():
    sources = [b.source for seed in SEEDS for b in genome(seed).blocks]
    rng = random.Random(0)
    sources += [c.source for s in sources for _ in range(20) if (c := mutate(s, "complex", rng))]
    sources += [
        "def loss(logits, labels):\n    return F.cross_entropy(logits, labels)\n",
        "class A(nn.Module):\n    def __init__(self):\n        self.act = nn.ReLU()\n"
        "        self.conv = nn.Conv2d(3, 8, 3, padding=1)\n",
        "def train(model, optimizer):\n    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "    return StepLR(optimizer, 1, gamma=0.7)\n",
    ]
    missing = [r.name for r in CATALOGUE if not any(apply_any(s, [r], rng) for s in sources)]
    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_most_mutations_work_and_reducing_reduces(editor, seed):
    parent, tried, good, smaller = genome(seed), 0, 0, []
    before = works(parent.files["model.py"])
    for number in range(36):
        rng = random.Random(number)
        block, directive = rng.choice(parent.blocks), DIRECTIVES[number % 6]
        change = mutate(block.source, directive, rng)
        if change is None:
            continue
        candidate = apply(editor, parent, block.name, change)
        assert not isinstance(candidate, Violations), (change, candidate)
        tried, size = tried + 1, works(candidate.files["model.py"])
        good += size is not None
        if directive == "reduce size" and size is not None and change.source != block.source:
            smaller.append(size <= before)
    assert tried >= 30
    assert good / tried >= 0.9
    assert all(smaller) and smaller


@pytest.mark.slow
def test_repeated_rewrites_still_work(editor):
    kept = Counter()
    for line in range(4):
        rng, individual = random.Random(line), genome("exquisitenet_v2")
        for _ in range(8):
            block = rng.choice(individual.blocks)
            change = mutate(block.source, rng.choice(DIRECTIVES), rng)
            candidate = apply(editor, individual, block.name, change) if change else individual
            works_still = not isinstance(candidate, Violations) and works(candidate.files["model.py"]) is not None
            kept[works_still] += 1
            individual = candidate if works_still else individual
    assert kept[True] / kept.total() >= 0.8, kept


def test_an_insight_is_carried_over():
    seed = "class A(nn.Module):\n    def forward(self, x):\n        return F.silu(x)\n"
    elite = seed.replace("silu", "gelu")
    target = "class B(nn.Module):\n    def forward(self, x):\n        return F.relu(x * 1.0)\n"
    change = transfer(seed, elite, target, random.Random(1))
    assert "activation" in change.description or "average" in change.description


def test_merging_takes_from_both():
    a = (
        "class A(nn.Module):\n    def __init__(self):\n        self.p = 1\n        self.q = 1\n\n"
        "    def forward(self, x):\n        return x * self.p + self.q\n"
    )
    b = a.replace("self.p = 1", "self.p = 2").replace("self.q = 1", "self.q = 2")
    results = {merge(a, b, random.Random(n)).source for n in range(12)}
    assert {a.replace("self.p = 1", "self.p = 2"), a.replace("self.q = 1", "self.q = 2")} & results
    assert all(r not in (a, b) for r in results)


def test_merging_never_reads_an_attribute_that_was_not_set():
    a = "class A(nn.Module):\n    def __init__(self):\n        self.p = 1\n\n    def forward(self, x):\n        return self.p\n"
    b = a.replace("self.p", "self.q")
    for n in range(10):
        text = merge(a, b, random.Random(n)).source
        read = text.split("return self.")[1].strip()
        assert f"self.{read} = 1" in text
