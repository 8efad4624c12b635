"""Kills a run at random moments, resumes it, and counts: every variant once, every answer paid once. Prints JSON.

    python tests/benchmarks/kill.py [--rounds 100] [--variants 60] [--seed 0] [--keep FOLDER]

A round is one `kill -9`, of the run's own process or, in a quarter of them, of one that it started (fork server, training,
editor, git). A finished run is checked, and another one is started, until the rounds are used up; the two schedules take
turns.
A generational run must end exactly as one that was never killed. A call without an answer when the process died may be sent
again, and is counted; an answer that is in the journal must not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.loopback import LoopbackLLM, fingerprint  # noqa: E402

ROWS = 120
"""New rows of the journal that a process may write at most before it is killed."""
SETTINGS = {
    "budget.steps": 2, "constraints.accuracy": ">= 0",  # so little training is no better than chance
    "noise.trainings": 1, "llm.concurrency": 4, "sandbox.slots": 2, "sandbox.threads": 1,
    "search.first_population": 12, "search.population": 8,
}  # fmt: skip
TIMED = ("evidence", "seconds", "gpus")
"""What no two runs have in common."""


class Run:
    """One run in a folder of its own, worked on by one process after the other."""

    def __init__(
        self, home: Path, name: str, schedule: str, variants: int, server: LoopbackLLM, environment: dict[str, str]
    ) -> None:
        self.folder, self.schedule, self._variants = home / name, schedule, variants
        self.out: Counter[str] = Counter()
        """Calls that were out when a process died, by fingerprint."""
        self._home, self._server, self._environment = home, server, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (home / f"{name}.log").open("wb")
        self.server_calls = Counter(server.calls)

    @property
    def command(self) -> list[str]:
        python = [sys.executable, "-m", "agent.cli"]
        if (self.folder / "journal.db").is_file():
            return [*python, "resume", self.folder.name]
        generations = (self._variants - SETTINGS["search.first_population"]) // SETTINGS["search.population"]
        settings = [f"{key}={value}" for key, value in {**SETTINGS, "search.generations": generations}.items()]
        settings = [part for setting in settings for part in ("--set", setting)]
        model = ["--llm", "openai/loopback", "--api-base", self._server.url]
        return [*python, "run", "seed", *model, "--out", self.folder.name, "--schedule", self.schedule, *settings]

    def work(self) -> subprocess.Popen[bytes]:
        """The process that works on it, a new one if there is none."""
        if self._process is None:
            self._process = subprocess.Popen(
                self.command, cwd=self._home, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
            )
        return self._process

    def ended(self) -> int:
        """Waits for the process to end by itself; its exit code."""
        code = self.work().wait()
        self._process = None
        return code

    def kill(self, chance: random.Random) -> str:
        """One process, at once; which kind."""
        process = self.work()
        others = descendants(process.pid)
        victim = chance.choice(others) if others else None
        kind = kind_of(victim) if victim else ""
        # A training that is killed is a failure of its variant: a run that is compared has none.
        if victim and chance.random() < 0.25 and not (kind == "training" and self.schedule == "generational"):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            return kind
        process.kill()
        process.wait()
        self._process = None
        deadline = time.monotonic() + 20
        while any(map(is_alive, others)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.out += self._calls_out()
        leaked = [kind_of(pid) for pid in others if is_alive(pid)]
        return f"main, leaving {', '.join(leaked)}" if leaked else "main"

    def rows(self) -> int:
        try:
            with closing(self._open()) as db:
                return int(db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0)
        except sqlite3.OperationalError:  # not there yet
            return 0

    def events(self, kind: str) -> dict[str, dict]:
        with closing(self._open()) as db:
            found = db.execute("SELECT key, data FROM events WHERE kind = ? ORDER BY seq", [kind])
            return {key: json.loads(data) for key, data in found}

    def results(self) -> object:
        """Everything that depends on chance or on an answer."""
        settled = {id: {k: v for k, v in data.items() if k not in TIMED} for id, data in self.events("settled").items()}
        answers = {key: data["text"] for key, data in self.events("answered").items()}
        return [self.events("drawn"), settled, answers, self.events("generation"), self.events("bred"), self.events("learned")]

    def faults(self) -> list[str]:
        """Return what is wrong with the end of the run."""
        facts = []
        proposed, settled = self.events("drawn"), self.events("settled")
        if list(proposed) != [f"{n:04d}" for n in range(1, len(proposed) + 1)]:
            facts.append("ids do not go on")
        if self.schedule == "steady" and len(proposed) != self._variants:
            facts.append(f"{len(proposed)} variants were proposed")
        if settled.keys() != proposed.keys() | {"seed"}:
            facts.append(f"not settled: {sorted(proposed.keys() - settled.keys())}")
        answered, asked = self.events("answered"), self.events("asked")
        paid = Counter(prompt_of(asked[key]) for key in answered)
        calls = self._server.calls - self.server_calls
        twice = {one: n - paid[one] - self.out[one] for one, n in calls.items() if n > paid[one] + self.out[one]}
        facts += [f"the answer to {one} was paid {n} times too often" for one, n in twice.items()]
        branches = {line.removeprefix(f"evolve/{self.folder.name}/") for line in self._git("refs/heads")}
        failed = {line.rpartition("/")[2] for line in self._git(f"refs/evolve/{self.folder.name}")}
        trained = {id for id, data in settled.items() if data["outcome"] in ("seed", "trained")}
        if branches != trained or self.events("committed").keys() != branches | failed:
            facts.append(f"branches are not those of the individuals: {sorted(branches ^ trained)}")
        return facts

    def _calls_out(self) -> Counter[str]:
        try:
            asked, answered = self.events("asked"), self.events("answered")
        except sqlite3.OperationalError:
            return Counter()
        return Counter(prompt_of(data) for key, data in asked.items() if key not in answered)

    def _git(self, place: str) -> list[str]:
        command = ["git", "--git-dir", self.folder / "lineage.git", "for-each-ref", "--format=%(refname:short)", place]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder / 'journal.db'}?mode=ro", uri=True)


def copy_fast_seed(home: Path) -> None:
    """A seed without a number of epochs: the runs set the number of steps."""
    shutil.copytree(ROOT / "seeds/tiny_cnn", home / "seed", ignore=shutil.ignore_patterns("__pycache__"))
    toml = home / "seed/seed.toml"
    toml.write_text("\n".join(line for line in toml.read_text().splitlines() if not line.startswith("epochs")))


def prompt_of(asked: dict) -> str:
    return fingerprint([{"role": m["role"], "content": m["text"]} for m in asked["messages"]])


def descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                processes = Path(f"/proc/{process}/task/{thread}/children").read_text().split()
                found += (more := [int(running) for running in processes])
                waiting += more
    return found


def kind_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        inside = b"sandbox.launch.fork_server" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, IndexError):
        return "gone"
    if words[0].endswith("git"):
        return "git"
    if "sandbox.launch.fork_server" in words:
        return "training" if inside else "fork server"
    return "editor" if "agent.genome.editor_process" in words else "other"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_the_moment(run: Run, chance: random.Random) -> bool:
    """Some rows of the journal further, and a little more; or while it starts. False if the process ended before."""
    process, began, rows = run.work(), time.monotonic(), run.rows()
    if chance.random() < 0.15:
        pause, more = chance.uniform(0.0, 4.0), 0
    else:
        pause, more = chance.uniform(0.0, 0.3), chance.randint(1, ROWS)
    while run.rows() < rows + more and time.monotonic() < began + 600:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    until = time.monotonic() + pause
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def play(rounds: int, variants: int, chance: random.Random, home: Path) -> dict[str, object]:
    copy_fast_seed(home)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "loopback", "EVOLVE_CACHE": str(home / "cache")}
    server, began = LoopbackLLM(), time.monotonic()
    unbroken = Run(home, "unbroken", "generational", variants, server, environment)
    if (code := unbroken.ended()) != 0:
        sys.exit(f"The run that is left alone ended with {code}: there is nothing to compare with; see {home}/unbroken.log")
    faults = unbroken.faults()
    kills: Counter[str] = Counter()
    runs, resumes, left, answers, again = 0, 0, rounds, 0, 0
    while left or not runs:
        runs += 1
        schedule = "generational" if runs % 2 else "steady"
        run = Run(home, f"run-{runs}", schedule, variants, server, environment)
        code: int | None = None
        failed = 0
        while code != 0:
            resumes += run.folder.is_dir()
            if left and wait_for_the_moment(run, chance):
                kills[run.kill(chance)] += 1
                left, failed = left - 1, 0
                print(f"round {rounds - left}: {schedule}, {run.rows()} rows", file=sys.stderr)
                continue
            code = run.ended()
            if code not in (0, 1):
                faults.append(f"{run.folder.name}: a process ended with {code}")
                break
            if code == 1:  # the machine's fault, as a killed git is: it says so, and the run is resumed
                kills["ended by itself with 1"] += 1
                failed += 1
                if failed > 2:
                    faults.append(f"{run.folder.name}: it fails again and again with nobody killing it")
                    break
        faults += [f"{run.folder.name}: {facts}" for facts in run.faults()]
        if faults:  # the rest would only cost time
            break
        if schedule == "generational" and run.results() != unbroken.results():
            faults.append(f"{run.folder.name}: it did not end as the unbroken one")
        answers += len(run.events("answered"))
        again += sum((server.calls - run.server_calls).values()) - len(run.events("answered"))
    server.stop()
    return {
        "rounds": rounds,
        "variants_of_a_run": variants,
        "runs": runs,
        "kills": dict(kills),
        "answers": answers,
        "asked_again_after_a_kill": again,
        "faults": faults,
        "seconds": round(time.monotonic() - began),
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--variants", type=int, default=60, help="Of one run; 12 and a multiple of 8.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="Where the runs are left to be looked at.")
    arguments = parser.parse_args()
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="evolve-kill-"))
    home.mkdir(exist_ok=True)
    try:
        figures = play(arguments.rounds, arguments.variants, random.Random(arguments.seed), home)
    finally:
        if not arguments.keep:
            shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(figures, indent=2))
    sys.exit(bool(figures["faults"]))


if __name__ == "__main__":
    main()
