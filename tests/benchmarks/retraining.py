"""Does training elites again pay at an equal number of trainings? Simulated searches with and without it. Prints JSON.

    python tests/benchmarks/retraining.py [--runs 400] [--trainings 24 40 100 300] [--share 0.1] [--sigma 1] [--seed 0]

Each run is a search by chance of a program's true accuracy and its parameters: a parent is drawn from the front as it is
measured, a child differs from it by a few points of true accuracy (worse more often than better) and some parameters, and a
training reads its true accuracy plus noise. With retraining, the rule of `agent/search/retraining.py` spends a share of the same
number of trainings. `step`: the spread of what a child changes, in sigmas of the noise.

Of the last front: `overstatement` is how far the best reading lies above the true value of its program, in sigmas; `true best`
is the true accuracy of that program above the seed's; `true worth` is the worth of the true values of the front (the seed alone
has 1); `is best` is how often the reported best is truly the best on the front. Intervals of 95 % are those of a mean (normal)
or of a share (Clopper and Pearson); differences are with minus without, over runs with other chances.
"""

import argparse
import json
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scipy.stats import binomtest

from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective
from agent.core.worth import WorthScale
from agent.genome import Genome
from agent.journal.events import EliteRetrained
from agent.population.archive import Archive
from agent.population.candidate import SEED_ID, Candidate, Individual
from agent.search.retraining import Retraining, RetrainingSettings

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
LEVEL, SIGMA, PARAMETERS = 0.9, 0.005, 10_000.0


class World:
    """True values by id, and readings of them."""

    def __init__(self, rng, step):
        self.rng, self.step = rng, step * SIGMA
        self.true = {SEED_ID: (LEVEL, PARAMETERS)}

    def child(self, id, parent):
        accuracy, parameters = self.true[parent]
        change = self.rng.gauss(-0.5, 1.0) * self.step
        self.true[id] = (accuracy + change, round(parameters * self.rng.choice((1.0, 1.0, 0.8, 0.9, 1.1, 1.25))))

    def read(self, id):
        accuracy, parameters = self.true[id]
        return Fitness({"accuracy": accuracy + self.rng.gauss(0, SIGMA), "parameters": parameters})

    def truth(self, id):
        accuracy, parameters = self.true[id]
        return Fitness({"accuracy": accuracy, "parameters": parameters})


def individual(world, id):
    return Individual(Candidate(id, 0), Genome({"model.py": f"x = {id!r}\n"}), world.read(id))


def begin(world):
    """The archive with the seed, trained four times, and the noise of those trainings."""
    seed = individual(world, SEED_ID)
    for _ in range(3):
        seed = seed.with_reading(world.read(SEED_ID))
    noise = Noise.of(seed.readings, OBJECTIVES)
    return Archive(seed, OBJECTIVES, WorthScale.of(OBJECTIVES, noise)), noise


def search(rng, trainings, share, step):
    """The archive of one search, the world it was in, and how many of the trainings were retrainings."""
    world = World(rng, step)
    archive, noise = begin(world)
    retraining = Retraining(archive, noise, RetrainingSettings(share))
    spent = again = 0
    while spent < trainings:
        due = retraining.due()[: trainings - spent]
        for one in due:
            retraining.take(EliteRetrained(one.id, one.trainings, world.read(one.id), "", 1.0))
        spent, again = spent + len(due), again + len(due)
        if not due:
            id = f"{len(world.true):04d}"
            world.child(id, rng.choice(archive.front()).id)
            child = individual(world, id)
            archive.add(child)
            retraining.see(child)
            spent += 1
    return archive, world, again


def outcome(rng, trainings, share, step):
    archive, world, again = search(rng, trainings, share, step)
    front = archive.front()
    best = front[0]
    true = world.truth(best.id)["accuracy"]
    scale = WorthScale.of(OBJECTIVES, Noise({"accuracy": SIGMA, "parameters": 0.0}, dict(world.truth(SEED_ID).values)))
    return {
        "overstatement": (best.fitness["accuracy"] - true) / SIGMA,
        "true best": (true - LEVEL) / SIGMA,
        "true worth": scale.worth(world.truth(one.id) for one in front),
        "is best": true == max(world.truth(one.id)["accuracy"] for one in front),
        "retrained": again,
    }


def mean(values):
    values = list(values)
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    value = statistics.fmean(values)
    return {"mean": round(value, 3), "interval": [round(value - half, 3), round(value + half, 3)]}


def share_of(hits):
    interval = binomtest(sum(hits), len(hits)).proportion_ci()
    return {"share": round(sum(hits) / len(hits), 3), "interval": [round(interval.low, 3), round(interval.high, 3)]}


def measure(runs, trainings, share, step, seed):
    found = {}
    for name, some in (("without", 0.0), ("with", share)):
        found[name] = [outcome(random.Random(f"{seed} {n} {name}"), trainings, some, step) for n in range(runs)]
    result = {}
    for name, all_runs in found.items():
        values = {key: mean(one[key] for one in all_runs) for key in ("overstatement", "true best", "true worth", "retrained")}
        result[name] = {**values, "is best": share_of([one["is best"] for one in all_runs])}
    differences = zip(found["with"], found["without"], strict=True)
    pairs = list(differences)
    result["difference"] = {
        key: mean(a[key] - b[key] for a, b in pairs) for key in ("overstatement", "true best", "true worth", "is best")
    }
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--trainings", type=int, nargs="+", default=[24, 40, 100, 300])
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--steps", type=float, nargs="+", default=[0.5, 1.0, 3.0])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {
        f"step {step:g}": {str(n): measure(options.runs, n, options.share, step, options.seed) for n in options.trainings}
        for step in options.steps
    }
    print(json.dumps({**vars(options), "by step in sigmas and trainings": found}, indent=2))


if __name__ == "__main__":
    main()
