"""CIFAR-10 with a recipe of the seeds: accuracy on the test images, speed, and several trainings on one device at once.

    python tests/benchmarks/gpu_cifar10.py --data FOLDER [--device cuda:0] [--at-once 1,2,4,8] [--minutes 7.5]
    python tests/benchmarks/gpu_cifar10.py --data FOLDER --device cpu --share 0.1 --epochs 3 --size 32 --at-once 1,2

FOLDER holds the parquet files of `uoft-cs/cifar10`; `--data digits` tries the script itself. Needs torch, numpy, safetensors,
pyarrow and pillow, and nothing of this project but this checkout. Trains as a run does, in the sandbox (`--level`), and
prints JSON. What is left of the minutes bounds the measurements after the full training, which are short and extrapolated.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox import Call, CallLimits
from sandbox.launch.client import ForkServerSandbox
from sandbox.launch.detect import detect
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, StageFailure

ROOT = Path(__file__).resolve().parents[2]
SETTLED = 10
"""Steps after which a training has found its speed."""
NOTHING = {"model.py": "def main(child):\n    return b''\n"}
PROBE = Call("sandbox.tasks.common.probe:run", NOTHING, CallLimits(60, 1 << 30, 1 << 10))
SHORT_SECONDS = 20
"""About how long a training is that is timed beside others."""


def tables(options):
    """The sources of the seed, and its [task] and [budget] under its recipe, changed by the options."""
    folder = ROOT / "seeds" / options.seed
    merged = {"seed": {}, "task": {}, "budget": {}}
    recipe = folder / f"{options.recipe}.toml"
    for path in (folder / "seed.toml", *([recipe] if recipe.is_file() else [])):
        found = tomllib.loads(path.read_text())
        for table, into in merged.items():
            into.update(found.get(table, {}))
    task, budget = merged["task"], merged["budget"]
    sources = {name: (folder / name).read_text() for name in merged["seed"]["files"]}
    task["dataset"] = options.data
    if options.validation_share:
        task["validation_share"] = options.validation_share
    if options.share < 1:
        task["train_share"] = options.share
    if options.size:
        task["input_size"] = options.size
    if options.plain:
        task["training"] = {k: v for k, v in task.get("training", {}).items() if k != "cuda_graphs"}
    if options.epochs:
        budget["epochs"] = options.epochs
    if options.batch_size:
        budget["batch_size"] = options.batch_size
    budget["time_limit"] = "1h"
    return sources, task, budget


class Listening:
    """A sandbox that keeps what the training prints about CUDA graphs."""

    def __init__(self, sandbox):
        self.level, self._sandbox = sandbox.level, sandbox
        self.lines = set()

    def run(self, call, watch=None):
        report = self._sandbox.run(call, watch)
        self.lines |= {line for line in report.log.splitlines() if line.startswith("CUDA graphs")}
        return report

    def close(self):
        self._sandbox.close()


class Watched:
    """One training and what was observed of it from outside."""

    def __init__(self, options, sources, task, budget, sandbox, cache):
        self._marks = []
        self._until = None
        opened = open_task(task, budget, {}, tuple(sources), cache, ("memory", "train_time"))
        job = Job(sources, options.training_seed, device=options.device, threads=options.threads, test_too=True)
        began = time.monotonic()
        self.measured = opened.evaluate(job, sandbox, lambda facts: self._marks.append((time.monotonic(), facts)))
        self.seconds = time.monotonic() - began
        if isinstance(self.measured, StageFailure):
            raise SystemExit(f"stopped at {self.measured.stage}: {self.measured.reason}\n{self.measured.log[-3000:]}")

    @property
    def span(self):
        """Steps, and the seconds that they took, between the first word of the training and the last."""
        settled = [mark for mark in self._marks if mark[1].step >= SETTLED]
        (first, a), (last, b) = settled[0], settled[-1]
        return b.step - a.step, last - first

    @property
    def steps(self):
        return self._marks[-1][1].steps


class Busy(threading.Thread):
    """Samples the share of time in which the GPU runs anything, and its memory, from its driver."""

    def __init__(self, device):
        super().__init__(daemon=True)
        index = device.partition(":")[2] or "0"
        self._command = ["nvidia-smi", "-i", index, "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        self._ended = threading.Event()
        self.samples = []

    def run(self):
        while not self._ended.wait(0.25):
            found = subprocess.run(self._command, capture_output=True, text=True)
            if found.returncode == 0:
                self.samples.append(tuple(int(v) for v in found.stdout.strip().split(",")))

    def facts(self):
        self._ended.set()
        busy = sorted(share for share, _ in self.samples if share)
        if not busy:
            return {}
        return {
            "device_busy_share_median": busy[len(busy) // 2] / 100,
            "device_memory_mib": max(memory for _, memory in self.samples),
        }


def whole(options, sources, task, budget, box, cache):
    """The full recipe, once."""
    busy = Busy(options.device) if options.device.startswith("cuda") else None
    if busy:
        busy.start()
    one = Watched(options, sources, task, budget, box, cache)
    steps, seconds = one.span
    facts = busy.facts() if busy else {}
    return one, {
        "test_accuracy": round(one.measured.values["accuracy"], 4),
        "parameters": int(one.measured.values["parameters"]),
        "training_seconds": round(one.measured.seconds["fit"], 1),
        "predicting_seconds": round(one.measured.seconds["predict"], 1),
        "images_per_second": round(steps * budget["batch_size"] / max(seconds, 1e-9)),
        "steps": one.steps,
        "last_training_loss": one.measured.curve[-1][0],
        "host_memory_mib": one.measured.values["memory"],
        **facts,
    }


def beside(options, sources, task, budget, boxes, cache, count, speed, overhead, steps):
    """`count` short trainings at once; trainings per hour if all were whole."""
    short = {k: v for k, v in budget.items() if k != "epochs"}
    short["steps"] = max(20, min(steps, int(SHORT_SECONDS * speed / budget["batch_size"] / count)))
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(lambda box: Watched(options, sources, task, short, box, cache).span, boxes[:count]))
    rates = [done * budget["batch_size"] / max(seconds, 1e-9) for done, seconds in found]
    each = steps * budget["batch_size"] * count / sum(rates) + overhead
    return {"images_per_second": round(sum(rates)), "trainings_per_hour": round(3600 * count / each, 1)}


def machine(options):
    import torch

    facts = {"platform": platform.platform(), "torch": torch.__version__, "cores": len(os.sched_getaffinity(0))}
    if options.device.startswith("cuda"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        facts["gpu"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", default="exquisitenet_v2")
    parser.add_argument("--recipe", default="cifar10", help="a TOML file beside the seed; where there is none, the seed alone")
    parser.add_argument("--device", default="cuda:0" if Path("/dev/nvidiactl").exists() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the training images")
    parser.add_argument("--validation-share", type=float, help="of the training images, which are not trained on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--size", type=int, help="pixels that the model sees")
    parser.add_argument("--plain", action="store_true", help="without CUDA graphs")
    parser.add_argument("--at-once", default="1,2,4,8")
    parser.add_argument("--training-seed", type=int, default=0)
    parser.add_argument("--level", help="of isolation; the best that this machine has, if left out")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes

    sources, task, budget = tables(options)
    cache = options.cache or Path(tempfile.mkdtemp(prefix="evolve-cache-"))
    began = time.monotonic()
    open_task(task, budget, {}, tuple(sources), cache)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(options),
        "device": options.device,
        "seed": options.seed,
        "task": task,
        "budget": budget,
        "decoding_seconds": round(time.monotonic() - began, 1),
    }
    isolation = None if options.level else detect()
    result["isolation"] = options.level or isolation.level
    counts = [int(count) for count in options.at_once.split(",") if count]
    boxes = [
        Listening(ForkServerSandbox(options.level) if options.level else ForkServerSandbox(isolation.level, isolation.layers))
        for _ in range(max([1, *counts]))
    ]
    try:
        for box in boxes:  # starts its process
            box.run(PROBE)
        one, result["whole"] = whole(options, sources, task, budget, boxes[0], cache)
        result["said"] = sorted(boxes[0].lines)
        overhead = one.seconds - one.span[1]
        result["seconds_around_training"] = round(overhead, 1)
        result["at_once"] = {}
        for count in counts:
            if time.monotonic() + 3 * SHORT_SECONDS + overhead > end:
                result["at_once"][count] = "no time left"
                continue
            speed = result["whole"]["images_per_second"]
            result["at_once"][count] = beside(
                options, sources, task, budget, boxes, cache, count, speed, overhead, one.steps
            )
            print(json.dumps({count: result["at_once"][count]}), file=sys.stderr, flush=True)
    finally:
        for box in boxes:
            box.close()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
