"""How often a whole run that can find nothing says that it found something: real null runs of `tiny_cnn` on the digits. JSON.

    python tests/benchmarks/null_runs.py --out result.json [--runs 20] [--children 12] [--trainings 5]

Each run is `evolve run --null` with a confirmation at its end: every candidate is the seed with edits that change nothing. No two
trainings have the same training seed, in all runs. The result is written after each run; started again with the same options, it
goes on where it ended.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scipy.stats import binomtest  # noqa: E402

from agent.core.files import write_whole  # noqa: E402

APART = 10_000_000
"""Between the training seeds of two runs."""


def run(number, options):
    """One null run with its confirmation, as facts."""
    with tempfile.TemporaryDirectory(prefix="null-runs-") as folder:
        source, out = Path(folder) / "seed", Path(folder) / "run"
        shutil.copytree(options.seed_folder, source, ignore=shutil.ignore_patterns("__pycache__"))
        first = options.children - options.children // 3
        sizes = {"search.first_population": first, "search.population": options.children - first, "search.generations": 1}
        settings = {
            **sizes,
            "run.seed": number,
            "run.training_seed": APART * number,
            "confirm.at_end": "true",
            "confirm.trainings": options.trainings,
        }
        command = [sys.executable, "-m", "agent.cli", "run", str(source), "--null", "--out", str(out), "--slots", "cpu:1"]
        command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"run {number}: {done.stderr[-2000:]}")
        asked = [*command[:3], "status", str(out), "--json"]
        status = json.loads(subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout)
        return facts_of(number, status) | {"seconds": round(time.monotonic() - started, 1)}


def facts_of(number, status):
    null, confirmation = status["null"], status["confirmation"]
    members = [one for one in confirmation["verdicts"] if one["role"] == "member"] if confirmation else []
    return {
        "run": number,
        "trained": status["counts"]["trained"],
        "duplicate": status["counts"]["duplicate"],
        "failed": status["counts"]["failed"] + status["counts"]["invalid"],
        "called better": len(null["called_better"]),
        "called worse": len(null["called_worse"]),
        "differ without noise": len(null["not_null"]),
        "sigma": status["noise"]["sigma"]["accuracy"],
        "members": len(members),
        "words": dict(Counter(one["word"] for one in members)),
        "trainings to confirm": confirmation["made"] if confirmation else 0,
        "copies of the seed confirmed": bool(confirmation and confirmation["check_failed"]),
    }


def share(hits, of):
    """With its interval of 95 % (Clopper and Pearson)."""
    interval = binomtest(hits, of).proportion_ci(method="exact")
    return {"hits": hits, "of": of, "share": round(hits / of, 4), "interval": [round(interval.low, 4), round(interval.high, 4)]}


def summary(runs):
    trained = sum(one["trained"] for one in runs)
    confirmed = {word: sum(one["words"].get(word, 0) > 0 for one in runs) for word in ("better", "no_worse_and_smaller")}
    checks = sum(one["copies of the seed confirmed"] for one in runs)
    return {
        "runs with any 'confirmed better'": share(confirmed["better"], len(runs)),
        "runs with any 'confirmed no worse and smaller'": share(confirmed["no_worse_and_smaller"], len(runs)),
        "runs whose copies of the seed were confirmed": share(checks, len(runs)),
        "runs without a member to confirm": sum(not one["members"] for one in runs),
        "members": sum(one["members"] for one in runs),
        "candidates called likely better": share(sum(one["called better"] for one in runs), trained),
        "candidates called likely worse": share(sum(one["called worse"] for one in runs), trained),
        "runs with a candidate called likely better": share(sum(one["called better"] > 0 for one in runs), len(runs)),
        "candidates that differ without noise": sum(one["differ without noise"] for one in runs),
        "trainings to confirm": sum(one["trainings to confirm"] for one in runs),
        "seconds": round(sum(one["seconds"] for one in runs)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--children", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=5)
    parser.add_argument("--seed-folder", default=str(ROOT / "seeds/tiny_cnn"))
    options = parser.parse_args()
    same = {"children": options.children, "trainings": options.trainings}
    found = json.loads(options.out.read_text()) if options.out.exists() else {**same, "runs": []}
    if {key: found[key] for key in same} != same:
        raise SystemExit(f"{options.out} was measured with other options: {same} now.")
    for number in range(len(found["runs"]) + 1, options.runs + 1):
        found["runs"].append(run(number, options))
        found["summary"] = summary(found["runs"])
        write_whole(options.out, json.dumps(found, indent=1))
    print(json.dumps(found["summary"], indent=2))


if __name__ == "__main__":
    main()
