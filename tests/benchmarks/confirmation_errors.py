"""How often a confirmation is wrong, and how large a gain must be to be found, over simulated runs. Prints JSON.

    python tests/benchmarks/confirmation_errors.py [--runs 2000] [--members 5] [--seed 0]

Each run draws trainings of the seed, two null copies and the members around their true values, and asks the rules of
`agent/core/verdicts.py`. `null`: no member differs from the seed. `worse`: every member has a fifth fewer parameters and is worse
by exactly the margin, so each "no worse" is wrong. `gain`: one member is better by so many sigmas, the others are the seed.
The noise is normal, or has the tails of Student's t with 4 degrees of freedom.
"""

import argparse
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scipy.stats import binomtest

from agent.core.objectives import Objective
from agent.core.verdicts import CONFIRMED, Sample, judge

OBJECTIVES = (Objective("accuracy", "max"), Objective("parameters", "min"))
MARGIN, LEVEL, SIGMA = 2.0, 0.95, 0.0051
"""The default margin; the seed's accuracy, and its sigma as measured on `exquisitenet_v2` with the digits."""
TRAININGS, GAINS = (3, 5, 10), (1.0, 2.0, 3.0, 5.0)


def normal(rng):
    return rng.gauss(0, 1)


def heavy(rng):
    """Student's t with 4 degrees of freedom, scaled to a standard deviation of 1."""
    chi = sum(rng.gauss(0, 1) ** 2 for _ in range(4))
    return rng.gauss(0, 1) / (chi / 4) ** 0.5 / 2**0.5


def sample(rng, noise, id, role, trainings, gain=0.0, parameters=100.0):
    values = [{"accuracy": LEVEL + SIGMA * (gain + noise(rng)), "parameters": parameters} for _ in range(trainings)]
    return Sample(id, role, values, (), trainings)


def confirm(rng, noise, trainings, gains, parameters=100.0):
    """(words of the members, whether a null copy was confirmed)."""
    samples = [sample(rng, noise, "seed", "seed", trainings)]
    samples += [sample(rng, noise, f"null-{n}", "null", trainings) for n in (1, 2)]
    samples += [sample(rng, noise, f"{n:04d}", "member", trainings, gain, parameters) for n, gain in enumerate(gains)]
    found = judge(samples, OBJECTIVES, MARGIN)
    return [one.word for one in found.verdicts if one.role == "member"], found.check == "failed"


def share(hits):
    """The share of runs, with its interval of 95 % (Clopper and Pearson)."""
    hits = list(hits)
    interval = binomtest(sum(hits), len(hits)).proportion_ci()
    return {"share": round(sum(hits) / len(hits), 4), "interval": [round(interval.low, 4), round(interval.high, 4)]}


def measure(noise, trainings, runs, members, seed):
    rng = random.Random(f"{seed} {noise.__name__} {trainings}")
    null = [confirm(rng, noise, trainings, [0.0] * members) for _ in range(runs)]
    worse = [confirm(rng, noise, trainings, [-MARGIN] * members, 80.0)[0] for _ in range(runs)]
    found = {}
    for gain in GAINS:
        words = [confirm(rng, noise, trainings, [gain, *[0.0] * (members - 1)])[0] for _ in range(runs)]
        found[f"{gain:g}"] = share(one[0] == "better" for one in words)
    return {
        "null: any member confirmed better": share("better" in words for words, _ in null),
        "null: the run's own check failed": share(failed for _, failed in null),
        "worse: any member confirmed": share(any(word in CONFIRMED for word in words) for words in worse),
        "gain in sigmas: found": found,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {
        noise.__name__: {
            str(n): measure(noise, n, options.runs, options.members, options.seed) for n in TRAININGS
        }
        for noise in (normal, heavy)
    }
    print(json.dumps({**vars(options), "by noise and trainings": found}, indent=2))


if __name__ == "__main__":
    main()
