"""What the checks against forged fitness add to an evaluation of about eight seconds. Prints JSON.

    python tests/benchmarks/forgery_checks.py [--epochs 40] [--rounds 3]

`foreign`: the prediction with foreign weights; `literals`: the look at the source; `start`: the one call of a run that measures
what a call costs without a model.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.launch.client import ForkServerSandbox
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured
from sandbox.tasks.common.literals import literal_parameters
from sandbox.tasks.image_classification import judging

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"model.py": (ROOT / "seeds/tiny_cnn/model.py").read_text()}


def timed(work):
    """(result, seconds)"""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    spent = {"foreign": [], "start": []}
    for name, key in (("check_foreign", "foreign"), ("start_seconds", "start")):
        real = getattr(judging.Judge, name)

        def measured(self, *given, real=real, key=key):
            result, seconds = timed(lambda: real(self, *given))
            spent[key].append(seconds)
            return result

        setattr(judging.Judge, name, measured)
    sandbox = ForkServerSandbox("contained")
    with tempfile.TemporaryDirectory() as cache:
        task = open_task({"dataset": "digits"}, {"epochs": arguments.epochs}, {}, ("model.py",), Path(cache))
        wholes = []
        for seed in range(arguments.rounds):
            result, seconds = timed(lambda seed=seed: task.evaluate(Job(SOURCES, seed), sandbox))
            assert isinstance(result, Measured), result
            wholes.append(seconds)
        sandbox.close()
    spent["literals"] = [timed(lambda: literal_parameters(SOURCES))[1]]
    whole, foreign, literals = (statistics.median(one) for one in (wholes, spent["foreign"], spent["literals"]))
    found = {"evaluation_seconds": whole, "foreign_seconds": foreign, "literals_seconds": literals}
    found["start_seconds"] = spent["start"][0]
    found["share_of_eight_seconds"] = (foreign + literals) / 8
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
