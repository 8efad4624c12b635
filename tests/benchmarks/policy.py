"""What a search policy finds within 10, 40, 300 and 3,000 children, simulated on a fitted landscape. Prints JSON.

    python tests/benchmarks/policy.py [--budgets 10=500 40=500 300=10 3000=1] [--arms NAME ...] [--check]
                                      [--arm 'NAME={"search": {...}}' ...] [--ceiling 18] [--lag 1] [--landscape earlier]

`--budgets`: children of a run, and how many runs (repeats) of each arm. `--arm`: a policy of your own, settings as JSON.
`--check`: instead, the settings of the recorded searches, and what was recorded. `--landscape`: of the present prompts, or of the
earlier ones, with which `--check` compares.

Each arm meets the same readers. `worth`: of the front as measured, its mean over the runs with the 95 % interval of the mean;
`true`: of the same programs without noise. `policy_landscape.py` says what is fitted to what, and how weak it is.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import policy_search
from policy_landscape import ACCURACY, PARAMETERS, SIGMA, fit, fit_present, recorded
from policy_programs import SCALE
from policy_search import Arm, simulate

from agent.core.objectives import Fitness

CHECKPOINTS = (5, 10, 24, 40, 300, 3000)
BUDGETS = {10: 500, 40: 500, 300: 10, 3000: 1}
FORMER = {"mutate": 0.3, "rewrite": 0.25, "eot": 0.2, "mate": 0.15, "splice": 0.1}
"""The default shares of the version that was recorded."""
FORMER_WAY = {"first_operator": "mutate", "parents": "nsga2"}
MUTATIONS_FIRST = {**FORMER_WAY, "first_population": 32, "operators": FORMER}
REWRITE_HEAVY = {**FORMER_WAY, "first_population": 2, "operators": {"rewrite": 0.65, "eot": 0.2, "mate": 0.1, "splice": 0.05}}
BEST_OF_N = {"first_population": 1, "operators": {"rewrite": 1.0}, "strategy": "best-of-n"}
RECORDED = {
    "defaults": Arm("defaults", {"search": MUTATIONS_FIRST}, fixed=True),
    "random-sampling, no lessons": Arm("", {"search": {**MUTATIONS_FIRST, "strategy": "random-sampling"}}, fixed=True),
    "rewrite-heavy, 2 first children": Arm("", {"search": REWRITE_HEAVY}, fixed=True),
    "best-of-n, rewrite only": Arm("", {"search": BEST_OF_N}, fixed=True),
    "OpenEvolve 0.4.1 defaults": Arm("", islands=True),
}
ARMS = (
    Arm("default"),
    Arm("32 mutations first", {"search": MUTATIONS_FIRST}, fixed=True),
    Arm("random-sampling, rewrites", {"search": {"operators": {"rewrite": 1.0}, "strategy": "random-sampling"}}),
    Arm("best-of-n, rewrites", {"search": BEST_OF_N}),
    Arm("islands, by accuracy", islands=True),
    Arm("paper", {"preset": "paper"}, fixed=True),
)


def mean_of(values):
    """The mean and its 95 % interval."""
    mean = statistics.fmean(values)
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("inf")
    return {"mean": round(mean, 3), "interval": [round(mean - half, 3), round(mean + half, 3)] if half < 1e9 else None}


def measure(arm, landscape, children, repeats):
    """What the arm's runs had found at each checkpoint."""
    began = time.process_time()
    checkpoints = [n for n in CHECKPOINTS if n <= children]
    runs = [simulate(arm, landscape, children, checkpoints, f"{n}") for n in range(repeats)]
    found = {
        str(n): {
            "worth": mean_of([run[place].worth for run in runs]),
            "true": mean_of([run[place].true_worth for run in runs]),
            "best accuracy": round(statistics.fmean(run[place].best for run in runs), 4),
        }
        for place, n in enumerate(checkpoints)
    }
    return {"repeats": repeats, "cpu seconds": round(time.process_time() - began, 1), "after": found}


def worth_of(children):
    """Of recorded children and the seed."""
    points = [(c.accuracy, c.size) for c in children] + [(0.0, 0.0)]
    return SCALE.worth(Fitness({"accuracy": ACCURACY + SIGMA * a, "parameters": PARAMETERS / 1.1**s}) for a, s in points)


def check(landscape, repeats):
    """Of each recorded search: its worth, and that of simulated runs of the same settings; `percentile`: where the recorded
    one stands among them."""
    table = {}
    for name, children in recorded().items():
        points = [n for n in (5, 10, 24, 33, 40) if n <= len(children)]
        runs = [simulate(RECORDED[name], landscape, len(children), points, f"{n}") for n in range(repeats)]
        table[name] = {}
        for place, n in enumerate(points):
            real, found = worth_of(children[:n]), sorted(run[place].worth for run in runs)
            cuts = statistics.quantiles(found, n=40)
            table[name][str(n)] = {
                "recorded": round(real, 2),
                "simulated": round(statistics.fmean(found), 2),
                "95 % of runs": [round(cuts[0], 2), round(cuts[-1], 2)],
                "percentile": round(100 * sum(one < real for one in found) / repeats),
            }
    return table


def read_arm(text):
    name, _, settings = text.partition("=")
    return Arm(name, json.loads(settings))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budgets", nargs="+", default=[f"{n}={r}" for n, r in BUDGETS.items()], metavar="CHILDREN=REPEATS")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], metavar="NAME")
    parser.add_argument("--arm", action="append", default=[], type=read_arm, metavar="NAME=JSON")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--landscape", choices=["present", "earlier"], default="present")
    parser.add_argument("--ceiling", type=float)
    parser.add_argument("--lag", type=int, default=policy_search.LAG)
    options = parser.parse_args()
    policy_search.LAG = options.lag
    landscape = fit() if options.check or options.landscape == "earlier" else fit_present()
    if options.ceiling:
        landscape = replace(landscape, ceiling=options.ceiling)
    budgets = {int(n): int(repeats) for n, _, repeats in (text.partition("=") for text in options.budgets)}
    print(json.dumps({"landscape": asdict(landscape), "lag": options.lag}, indent=1))
    if options.check:
        print(json.dumps(check(landscape, max(budgets.values())), indent=1))
        return
    arms = [arm for arm in ARMS if arm.name in options.arms] if options.arms else [] if options.arm else ARMS
    for children, repeats in budgets.items():
        for arm in [*arms, *options.arm]:
            print(json.dumps({"children": children, "arm": arm.name, **measure(arm, landscape, children, repeats)}), flush=True)


if __name__ == "__main__":
    main()
