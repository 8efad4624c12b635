"""A run whose provider fails 30 % of all calls, in nine ways, and a tenth of whose evaluations die. Prints JSON.

    python tests/benchmarks/chaos.py [--variants 60]

The provider knows which of its answers kill the process that trains them; every other one must be trained. So the right
counts are known: no candidate is lost, none is proposed twice, and only poisoned ones fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.kill import Run, copy_fast_seed  # noqa: E402
from tests.benchmarks.loopback import LoopbackLLM, completion  # noqa: E402

FAILING, DYING = 0.3, 0.1
DEADLINE = 8.0
"""Seconds of a model call; a stall is given up after half of them."""
POISON = (
    "raise RuntimeError('poisoned')",
    "import os; os._exit(3)",
    "import os; os.kill(os.getpid(), 9)",
    "import ctypes; ctypes.string_at(0)",
)
ANSWER = """\
Intention: variant {number}{mark}.

```python
class TinyCNN(nn.Module):
    def __init__(self, num_classes, in_channels, width=16):
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        if self.training and len(x) > 8:
            {deed}
        return self.head(x.mean((2, 3))) * {factor}
```
"""


class ChaoticLLM(LoopbackLLM):
    def __init__(self) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self._numbers = count(1)

    def serve(self, handler, messages):
        with self.lock:
            failing = self.chance.random() < FAILING
            kind = self.chance.choice(sorted(FAULTS)) if failing else ""
            self.failures[kind or "none"] += 1
        if failing:
            FAULTS[kind](handler)
        else:
            super().serve(handler, messages)

    def answer(self, messages):
        with self.lock:
            number, dying = next(self._numbers), self.chance.random() < DYING
            deed = self.chance.choice(POISON) if dying else "x = x * 1.0"
        return ANSWER.format(number=number, mark=" POISON" if dying else "", deed=deed, factor=1 + number / 1000)


def refuse(status):
    return lambda handler: handler.reply(status, json.dumps({"error": {"message": f"status {status}"}}).encode())


def stall(handler):
    time.sleep(DEADLINE)
    handler.close_connection = True


def drip(handler):
    body = completion("dripping")
    handler.reply(200, b"", length=len(body))
    handler.close_connection = True
    for at in range(len(body)):
        try:
            handler.wfile.write(body[at : at + 1])
        except OSError:  # it was given up
            return
        time.sleep(0.1)


def cut(handler):
    handler.reply(200, completion("cut")[:60])


FAULTS = {
    "429": refuse(429),
    "500": refuse(500),
    "503": refuse(503),
    "stall": stall,
    "drip": drip,
    "cut JSON": cut,
    "empty": lambda handler: handler.reply(200, completion("")),
    "null": lambda handler: handler.reply(200, completion(None)),
    "HTML": lambda handler: handler.reply(200, b"<html>Sign in to the hotel's network</html>", "text/html"),
}


def play(variants: int, home: Path) -> dict[str, object]:
    copy_fast_seed(home)
    toml = home / "seed/seed.toml"
    toml.write_text(toml.read_text().replace('["build_model"]', '["build_model", "build_optimizer", "Stage"]'))
    server, began = ChaoticLLM(), time.monotonic()
    settings = {
        "budget.steps": 2, "constraints.accuracy": ">= 0",  # so little training is no better than chance
        "noise.trainings": 0, "sandbox.slots": 2, "llm.concurrency": 8, "llm.deadline_seconds": DEADLINE,
        "thoughts.insights_every": 0, "thoughts.directives_every": 0, "search.first_population": 12, "search.population": 8,
        "search.generations": -(-variants // 8), "limits.variants": variants,
    }  # fmt: skip
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "agent.cli", "run", "seed", "--llm", "openai/loopback", "--api-base", server.url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "loopback", "EVOLVE_CACHE": str(home / "cache")}
    done = subprocess.run([*command, "--out", "run", *flags], cwd=home, env=environment, capture_output=True, text=True)
    server.stop()
    if not (home / "run/journal.db").is_file():
        sys.exit(done.stderr)
    run = Run(home, "run", "steady", variants, server, environment)
    faults = check(run, variants)
    faults += [f"the run ended with {done.returncode}: {done.stderr[-600:]}"] if done.returncode else []
    settled = [data for id, data in run.events("settled").items() if id != "seed"]
    calls = sum(server.failures.values())
    return {
        "variants": variants,
        "outcomes": dict(Counter(data["outcome"] for data in settled)),
        "calls": calls,
        "share_of_calls_that_failed": round(1 - server.failures["none"] / calls, 3),
        "failures": {kind: n for kind, n in sorted(server.failures.items()) if kind != "none"},
        "models_left_alone": len(run.events("rests")),
        "faults": faults,
        "seconds": round(time.monotonic() - began),
        "cores": len(os.sched_getaffinity(0)),
    }


def check(run: Run, variants: int) -> list[str]:
    """Return what is wrong with the counts."""
    facts = []
    proposed, settled, bred = run.events("drawn"), run.events("settled"), run.events("bred")
    if list(proposed) != [f"{n:04d}" for n in range(1, variants + 1)]:
        facts.append(f"{len(proposed)} variants were proposed")
    if settled.keys() != proposed.keys() | {"seed"}:
        facts.append(f"not settled: {sorted(proposed.keys() - settled.keys())}")
    for id in proposed.keys() & settled.keys():
        outcome, poisoned = settled[id]["outcome"], "POISON" in bred.get(id, {}).get("intention", "")
        empty = id not in bred  # three empty answers in a row, and again after the reason was given
        if outcome != ("failed" if poisoned or empty else "trained"):
            facts.append(f"{id} is {outcome}, poisoned: {poisoned}: {settled[id].get('reason', '')}")
    numbers = re.findall(r"variant (\d+)", "\n".join(data["text"] for data in run.events("answered").values()))
    if len(numbers) != len(set(numbers)):
        facts.append("an answer was used twice")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variants", type=int, default=60)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="evolve-chaos-"))
    try:
        figures = play(arguments.variants, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(figures, indent=2))
    sys.exit(bool(figures["faults"]))


if __name__ == "__main__":
    main()
