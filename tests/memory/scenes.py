"""A seed, changes of it, and the lessons that they leave."""

from dataclasses import replace

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.genome import Genome
from agent.memory import Lesson, Memory, lesson_of
from agent.population.candidate import SEED_ID, Candidate, Individual, Recipe

ACCURACY, PARAMETERS = OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
NOISE = Noise({"accuracy": 0.01, "parameters": 0}, {"accuracy": 0.8, "parameters": 1000})
SOURCE = """\
import torch
from torch import nn


def build_optimizer(model, steps):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class Stage(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))
"""
SEED = Individual(Candidate(SEED_ID, 0), Genome({"model.py": SOURCE}), Fitness({"accuracy": 0.8, "parameters": 1000}))
ANSWER = "Intention: smooth the signal.\nExpected effect: accuracy +0.01.\n\n```python\n...\n```\n"


def fit(accuracy, parameters=1000):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def candidate(id="0001", operator="mutate", blocks=("Stage",), **choices):
    return Candidate(id, 1, (Recipe(operator, (SEED_ID,), blocks, "m", 1, **choices),))


def individual(old="nn.BatchNorm2d(width)", new="nn.GroupNorm(2, width)", *, accuracy=0.85, parameters=1000, **choices):
    genome = Genome({"model.py": SOURCE.replace(old, new)})
    return Individual(candidate(**choices), genome, fit(accuracy, parameters))


def taught(outcome, answer=ANSWER, shown=(), *, parent=SEED, noise=NOISE):
    return lesson_of(outcome, parent, answer, shown, OBJECTIVES, noise)


def lesson(id="0001", **changed):
    return replace(taught(individual()), id=id, **changed)


SIGNS = {"better": 1, "worse": -1, "mixed": 1, "undecided": 0.4, "within noise": 0.1, "failed": 0}


def made(number, verdict="better", *, blocks=("Stage",), kinds=(), directive=None, gain=5.0, change=None, **rest):
    """A lesson with a change of its own."""
    gain *= SIGNS[verdict]
    measured = verdict != "failed"
    effects = {"accuracy": gain / 100, "parameters": 30.0 if verdict == "mixed" else 0.0} if measured else {}
    return Lesson(
        id=f"{number:04d}",
        operator=rest.pop("operator", "mutate"),
        blocks=blocks,
        kinds=kinds,
        role=None,
        directive=directive,
        model=rest.pop("model", "m"),
        change=f"-old{number}\n+new{number}\n" if change is None else change,
        intention=f"try{number}",
        expected="",
        effects=effects,
        gains={o.name: NOISE.gain(o, effects[o.name]) for o in OBJECTIVES if effects},
        verdict=verdict,
        reason=rest.pop("reason", "" if measured else f"fit: error{number}"),
        **rest,
    )


def memory_of(*lessons):
    memory = Memory(OBJECTIVES, NOISE)
    for one in lessons:
        memory.learn(one)
    return memory


def ids(lessons):
    return [int(one.id) for one in lessons]


def story(memory, number, shown, verdict="better", gain=3.0, *, cited=None, **rest):
    """A candidate that was told these lessons; by default its answer names them all."""
    cited = tuple(shown if cited is None else cited)
    memory.learn(made(number, verdict, gain=gain, shown=tuple(shown), cited=cited, blocks=("Elsewhere",), **rest))
