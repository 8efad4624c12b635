"""The cost of the controller itself, with models that answer at once and evaluations that take no time. Prints JSON.

    python tests/benchmarks/controller.py [--variants 10000] [--slots 4] [--keep FOLDER] [--profile FILE]

Real: the whole of `agent.run.start` with the steady schedule, prompts, the editor's process, journal, git in a repository
of the user's, the live view (its lines go to a file). Simulated: the model (it returns the block that it is shown with one
line changed: no rewriting by rules is measured) and the evaluation (a fitness computed from the text). 2 % of the answers
hold no code, 3 % are those of an earlier candidate, 5 % of the evaluations fail.

CPU is that of this process, all threads; the editor's process and git are measured separately.
"""

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent.cli.live import Live
from agent.genome import Editor
from agent.journal.events import Settled, StopRequested
from agent.llm import Completion, Usage
from agent.population.candidate import SEED_ID
from agent.run import components as components
from agent.run import runner as experiment
from agent.run.config_sources import load
from agent.run.folder import RunFolder
from sandbox.tasks.common.job import Measured, StageFailure

ROOT = Path(__file__).resolve().parents[2]
EIGHTHS = 8
SHOWN = re.compile(r"^## (?:Block to rewrite: `[^`]+`|Version A of `[^`]+`)[ ]*\n(?:(?!## |```).*\n)*(`{3,})python\n", re.M)
TUNED = re.compile(r'\n    tuned = "[^"]*"$')


class AtOnce:
    """A model whose answers cost nothing."""

    name, waits_for_person = "at-once", False

    def __init__(self, *_):
        self.seconds = 0.0

    def complete(self, request):
        began = time.thread_time()
        rng = random.Random(request.seed)
        prompt = next(m.text for m in request.messages if m.role == "user")
        if (head := SHOWN.search(prompt)) is None:  # a question about the search itself
            report = "Insight: narrower is better.\nDirective: Make it narrower."
            return Completion(report, "stop", Usage(9, 9), 0.0001, 0.0, self.name)
        code = prompt[head.end() : prompt.index(f"\n{head[1]}\n", head.end())].rstrip()
        chance = rng.random()
        words = " ".join(f"w{7 if chance < 0.03 else rng.randrange(10**6)}" for _ in range(16))
        code = TUNED.sub("", code) + f'\n    tuned = "{words}"'
        text = f"Intention: a number that is new.\nExpected effect: more.\n\n```python\n{code}\n```\n"
        self.seconds += time.thread_time() - began
        usage = Usage(len(prompt) // 4, len(text) // 4, estimated=True)
        return Completion("I cannot." if 0.03 <= chance < 0.05 else text, "stop", usage, 0.0001, 0.0, self.name)

    def close(self):
        return None


class Simulated:
    """A task whose evaluations take no time. More parameters are better, with luck and less and less so: the front grows."""

    def __init__(self, task):
        self._task = task

    def __getattr__(self, name):
        return getattr(self._task, name)

    def evaluate(self, job, *_):
        text = "".join(job.sources.values())
        luck = random.Random(zlib.crc32(text.encode()))
        numbers = [int(n) for n in re.findall(r'tuned = "w(\d+)', text)]
        if numbers and luck.random() < 0.05:
            reason = f"RuntimeError: size {luck.randrange(9)} does not match."
            return StageFailure("fit", reason, "Traceback (most recent call last):")
        parameters = 500_000 * (0.2 + sum(n % 1000 for n in numbers) / (1000 * max(1, len(numbers))))
        accuracy = 1 - 0.1 * (100_000 / parameters) ** 0.5 - 0.02 * luck.random()
        blocks = dict.fromkeys(re.findall(r"^class (\w+)", text, re.M), 1000)
        return Measured(
            {"accuracy": accuracy, "parameters": float(int(parameters))},
            {"fit": 0.001, "predict": 0.0005},
            10**8,
            "full",
            ("seccomp",),
            tuple((1 / (1 + epoch), 0.5 + epoch / 20) for epoch in range(5)),
            blocks,
            dict.fromkeys(blocks, ("12x16x16",)),
        )


class Metered(Editor):
    """Measures the editor's processes and git separately."""

    seconds = 0.0

    def close(self):
        before = candidates()
        super().close()
        Metered.seconds += candidates() - before


def candidates():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(key):
    status = Path("/proc/self/status").read_text()
    return round(next(int(line.split()[1]) for line in status.splitlines() if line.startswith(key)) / 1024)


class Laps:
    """CPU and wall time at each eighth of the settled candidates."""

    def __init__(self, variants, see):
        self._variants, self._see = variants, see
        self.settled, self.marks, self.outcomes = 0, [], Counter()

    def __call__(self, event):
        self._see(event)
        if isinstance(event, StopRequested) or not isinstance(event, Settled):
            return
        if event.outcome.id == SEED_ID:
            self.mark()
            return
        self.settled += 1
        self.outcomes[type(event.outcome).__name__] += 1
        if self.settled * EIGHTHS // self._variants > (self.settled - 1) * EIGHTHS // self._variants:
            self.mark()

    def mark(self):
        self.marks.append((time.process_time(), time.perf_counter(), memory("VmRSS")))


def user_repository(place):
    """Twenty files of a user, and the seed among them."""
    shutil.copytree(ROOT / "seeds" / "exquisitenet_v2", place / "seeds" / "exquisitenet_v2")
    for number in range(20):
        (place / f"file{number}.py").write_text(f"x = {number}\n" * 100)
    someone = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*someone, "commit", "-q", "-m", "A start")):
        subprocess.run(["git", *command], cwd=place, check=True)


def timed(*command, cwd):
    """Seconds of a whole `evolve` command, the start of Python included; the best of three."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call = [sys.executable, "-m", "agent.cli", *command]
        subprocess.run(call, cwd=cwd, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return round(min(times), 2)


def report(repository):
    out = subprocess.run(["git", "count-objects", "-v"], cwd=repository, check=True, capture_output=True, text=True).stdout
    facts = {key: int(value) for key, _, value in (line.partition(": ") for line in out.splitlines()) if value.isdecimal()}
    listed = ["git", "for-each-ref", "--format=%(refname)", "refs/heads/evolve", "refs/evolve"]
    began = time.perf_counter()
    refs = subprocess.run(listed, cwd=repository, check=True, capture_output=True, text=True).stdout.splitlines()
    took = time.perf_counter() - began
    loose = sum(1 for top in ("heads/evolve", "evolve") for p in (repository / ".git/refs" / top).rglob("*") if p.is_file())
    size = sum(p.stat().st_size for p in (repository / ".git").rglob("*") if p.is_file())
    return {
        "loose_objects": facts["count"],
        "packs": facts["packs"],
        "packed_objects": facts["in-pack"],
        "references": len(refs),
        "loose_references": loose,
        "for_each_ref_seconds": round(took, 3),
        "bytes_per_variant": round(size / max(1, len(refs))),
    }


def run(place, variants, slots, profile):
    repository = place / "project"
    user_repository(repository)
    folder = RunFolder(place / "runs" / "night")
    overrides = {
        "llm": {"models": ["at-once"]},
        "sandbox": {"slots": slots, "unsafe_no_sandbox": True},
        "search": {"generations": -(-variants // 8), "schedule": "steady"},
        "limits": {"variants": variants},
    }
    config = load(str(repository / "seeds" / "exquisitenet_v2"), None, overrides, ())
    model = AtOnce()
    open_task = components.open_task
    components.open_task = lambda *arguments: Simulated(open_task(*arguments))
    components.Editor, components.open_model = Metered, lambda name, settings: model
    with (place / "run.log").open("w") as log, contextlib.redirect_stderr(log), Live(folder.name) as live:
        laps = Laps(variants, live.see)
        if profile:
            watch_threads(profile)
        experiment.start(config, folder, laps)
        end = (time.process_time(), time.perf_counter(), memory("VmRSS"))
    first = laps.marks[0]
    steps = list(zip(laps.marks, laps.marks[1:], strict=False))
    cpu = [round(1000 * (b[0] - a[0]) * EIGHTHS / variants, 2) for a, b in steps]
    wall = [round(b[1] - a[1], 2) for a, b in steps]
    journal = folder.journal
    return {
        "variants": variants,
        "settled": laps.settled,
        "outcomes": dict(laps.outcomes),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "cpu_ms_per_variant": round(1000 * (end[0] - first[0]) / variants, 2),
        "of_which_the_simulated_model_ms": round(1000 * model.seconds / variants, 2),
        "git_cpu_ms_per_variant": round(1000 * (candidates() - Metered.seconds) / variants, 2),
        "editor_cpu_ms_per_variant": round(1000 * Metered.seconds / variants, 2),
        "wall_seconds": round(end[1] - first[1], 1),
        "variants_per_second": round(variants / (end[1] - first[1]), 1),
        "cpu_ms_per_variant_by_eighth": cpu,
        "wall_seconds_by_eighth": wall,
        "last_eighth_over_first": {"cpu": round(cpu[-1] / cpu[0], 2), "wall": round(wall[-1] / wall[0], 2)},
        "flush_seconds": round(end[1] - laps.marks[-1][1], 2),
        "memory_mib": {"end": end[2], "most": memory("VmHWM"), "at_start": first[2]},
        "journal_bytes_per_variant": journal_size(journal, variants),
        "git": report(repository),
        "command_seconds": {
            "status": timed("status", str(folder.root), cwd=place),
            "status --json": timed("status", str(folder.root), "--json", cwd=place),
            "show": timed("show", str(folder.root), cwd=place),
            "show --json": timed("show", str(folder.root), "--json", cwd=place),
            "show ID": timed("show", str(folder.root), f"{variants // 2:04d}", cwd=place),
            "--help": timed("--help", cwd=place),
        },
    }


def journal_size(path, variants):
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as db:
        kinds = dict(db.execute("SELECT kind, sum(length(data)) FROM events GROUP BY kind"))
    return {
        "file": round(path.stat().st_size / variants),
        "without_prompts": round((path.stat().st_size - kinds.get("asked", 0)) / variants),
        **{kind: round(size / variants) for kind, size in kinds.items()},
    }


def watch_threads(file):
    """cProfile in every thread, added up at the end."""
    import atexit
    import cProfile
    import pstats

    profiles = []
    run_thread = threading.Thread.run

    def profiled(self):
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        with contextlib.suppress(ValueError):
            profile.enable()
        try:
            run_thread(self)
        finally:
            profile.disable()

    threading.Thread.run = profiled
    main = cProfile.Profile(time.thread_time)
    profiles.append(main)
    main.enable()

    def tell():
        main.disable()
        stats = pstats.Stats(main)
        for profile in profiles[1:]:
            with contextlib.suppress(TypeError):
                stats.add(profile)
        stats.dump_stats(file)

    atexit.register(tell)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="a new folder for the run, which is left there")
    parser.add_argument("--profile", help="write cProfile's statistics to this file; the figures are larger then")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.keep:
            arguments.keep.mkdir(parents=True)
        place = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evolve-benchmark-")))
        figures = run(place.resolve(), arguments.variants, arguments.slots, arguments.profile)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
