"""The gain from evolution, Evolution of Thought and roles: hypervolume at equal budget over several run seeds. Prints JSON.

    python tests/benchmarks/ablation.py [--seeds 10] [--variants 24] [--jobs 2] [--llm offline] [--seed-folder seeds/tiny_cnn]

Each run is the command itself, with real training on real digits. The offline model reads neither roles nor lessons: with it,
only the operators and the selection differ. Any other model of `--llm` can be put in its place.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OTHERS = '{ mutate = 0.3, rewrite = 0.25, mate = 0.15, splice = 0.1 }'
ARMS = {
    "full": [],
    "no EoT": [f"search.operators={OTHERS}", "memory.enabled=false"],
    "no EoT, no roles": [f"search.operators={OTHERS}", "memory.enabled=false", "search.roles=false"],
    "paper": ["preset=paper", "search.schedule=steady"],
    "random sampling": ["search.strategy=random-sampling", "search.operators={ mutate = 1.0 }", "memory.enabled=false"],
}
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 14: 2.14, 19: 2.09}
"""Two-sided 95 % points of Student's t by degrees of freedom."""


def run(folder, arm, seed, options):
    """The hypervolume after each trained variant, the seed first."""
    out = folder / f"{arm.replace(' ', '-').replace(',', '')}-{seed}"
    source = folder / f"seed-{out.name}"
    shutil.copytree(options.seed_folder, source, ignore=shutil.ignore_patterns("__pycache__"))
    first = max(2, options.variants // 4)
    command = [sys.executable, "-m", "agent.cli", "run", str(source), "--llm", options.llm, "--out", str(out)]
    command += ["--seed", str(seed), "--slots", "1", "--variants", str(options.variants), "--population", "4"]
    command += ["--generations", str(options.variants)]
    for setting in [f"search.first_population={first}", "noise.trainings=3", *ARMS[arm]]:
        command += ["--set", setting]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{out.name}: {done.stderr[-2000:]}")
    asked = [*command[:3], "compare", str(out), "--json"]
    facts = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    shutil.rmtree(source)
    return [point["hypervolume"] for point in json.loads(facts.stdout)["runs"][0]["points"]]


def spread(values):
    n = len(values)
    mean = statistics.fmean(values)
    half = T95.get(n - 1, 1.96) * statistics.stdev(values) / math.sqrt(n) if n > 1 else float("nan")
    interval = [round(mean - half, 4), round(mean + half, 4)]
    return {"mean": round(mean, 4), "ci95": interval, "median": round(statistics.median(values), 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--variants", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--llm", default="offline")
    parser.add_argument("--seed-folder", default=str(ROOT / "seeds/tiny_cnn"))
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        jobs = {
            (arm, seed): pool.submit(run, Path(folder), arm, seed, options)
            for seed in range(options.seeds)
            for arm in options.arms
        }
        curves = {job: future.result() for job, future in jobs.items()}
    least = min(len(curve) for curve in curves.values()) - 1
    arms = {}
    for arm in options.arms:
        mine = [curves[arm, seed] for seed in range(options.seeds)]
        arms[arm] = {
            "at the end": spread([curve[-1] for curve in mine]),
            f"after {least} trained": spread([curve[least] for curve in mine]),
            "trained": statistics.fmean(len(curve) - 1 for curve in mine),
        }
        if "full" in options.arms and arm != "full":
            against = [a[-1] - curves["full", seed][-1] for seed, a in enumerate(mine)]
            arms[arm]["minus full, seed by seed"] = spread(against)
    print(json.dumps({"seeds": options.seeds, "variants": options.variants, "llm": options.llm, "arms": arms}, indent=2))


if __name__ == "__main__":
    main()
