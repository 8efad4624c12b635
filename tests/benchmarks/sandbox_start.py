"""From a request to the first line of candidate code, and what many evaluations in a row leave behind. Prints JSON.

    python tests/benchmarks/sandbox_start.py [--calls 200] [--evaluations 500]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox import Call, CallLimits
from sandbox.launch.client import ForkServerSandbox

# The first line of candidate code: the clock is the system's, so both sides read the same one.
SOURCE = "import time\nBEGAN = time.clock_gettime(time.CLOCK_MONOTONIC)\n\n\ndef main(child):\n    return repr(BEGAN).encode()\n"
CALL = Call("sandbox.tasks.common.probe:run", {"model.py": SOURCE}, CallLimits(seconds=20, memory=1 << 30, result=1 << 16))


def start(level, calls):
    """Milliseconds."""
    sandbox = ForkServerSandbox(level)
    try:
        for _ in range(5):
            sandbox.run(CALL)
        started, whole = [], []
        for _ in range(calls):
            asked = time.clock_gettime(time.CLOCK_MONOTONIC)
            report = sandbox.run(CALL)
            whole.append(1000 * (time.clock_gettime(time.CLOCK_MONOTONIC) - asked))
            started.append(1000 * (float(report.result) - asked))
        return {"first_line": spread(started), "whole_call": spread(whole)}
    finally:
        sandbox.close()


def spread(values):
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "best": round(ordered[0], 1),
        "p95": round(ordered[int(0.95 * len(ordered))], 1),
    }


def footprint():
    status = Path("/proc/self/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": Path("/proc/self/mounts").read_text().count("\n"),
        "processes": sum(name.isdecimal() for name in os.listdir("/proc")),
        "memory_mib": round(resident / 1024, 1),
        "folders": len(list(Path("/tmp").glob("evolve-*"))),
    }


def leaks(level, evaluations):
    """What is there after many calls that was not there after the first few; slot servers are recycled on the way."""
    sandbox = ForkServerSandbox(level)
    try:
        for _ in range(20):
            sandbox.run(CALL)
        before = footprint()
        for _ in range(evaluations):
            sandbox.run(CALL)
        after = footprint()
    finally:
        sandbox.close()
    return {"before": before, "after": after}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--evaluations", type=int, default=500)
    arguments = parser.parse_args()
    figures = {
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "milliseconds": {level: start(level, arguments.calls) for level in ("contained", "full")},
        "leaks": {level: leaks(level, arguments.evaluations) for level in ("contained", "full")},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
