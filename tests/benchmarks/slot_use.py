"""How much of the time of its slots a steady run spends in training. Prints JSON.

    python tests/benchmarks/slot_use.py [--slots 4] [--variants 100] [--latency 0.5] [--training 1.0]

The run is a real one: a loopback server with the API of OpenAI answers each prompt as the offline model would, after
`--latency` seconds; answers are checked, variants pass the smoke stage, train one step in the sandbox, which sleeps
`--training` seconds in its loss, predict, are scored, journaled and committed.

Slot use is the time inside of `fit`, from the import of the candidate's file to its weights as its own process sees them, over
slots x wall time from the first such moment to the last. `steady` counts from the moment at which all slots train for the
first time to the last beginning of a training: it leaves out the filling and the emptying of the slots, of which a longer run
has no more. `limit` is what is left of `slot_use` when the trainings cannot be dealt out evenly; `whole_run` counts from the
start of the search, with the first answers still to come, to its end.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

MODEL = '''\
"""Learns next to nothing: its one step takes a second of sleep."""

import time

import torch
import torch.nn.functional as F
from torch import nn


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


BEGAN = now()


def loss(logits, labels):
    if len(logits) > 8:  # not in the smoke stage
        time.sleep(TRAINING)
    return F.cross_entropy(logits, labels)


def build_optimizer(model, steps):
    groups = [{"params": model.body.parameters(), "lr": 0.05}, {"params": model.head.parameters(), "lr": 0.02}]
    return torch.optim.SGD(groups, lr=0.04, momentum=0.9, weight_decay=0.0001)


def augment(images, generator):
    noise = torch.randn(images.shape, generator=generator)
    return 0.95 * images + 0.1 * noise


class Gate(nn.Module):
    """A learned share of the old and the new."""

    def __init__(self, width, share=0.5):
        super().__init__()
        self.share = nn.Parameter(torch.full((width,), share))

    def forward(self, old, new):
        return old + self.share * (new - 0.3 * old)


class Layer(nn.Module):
    def __init__(self, width, hidden=12, dropout=0.05):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gate = Gate(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.gate(x, self.dropout(self.down(F.relu(self.up(x)))))


class Body(nn.Module):
    def __init__(self, inputs, width=24, depth=2):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.layers = nn.Sequential(*(Layer(width) for _ in range(depth)))

    def forward(self, x):
        return self.layers(F.relu(self.first(x)))


class Head(nn.Module):
    def __init__(self, num_classes, hidden=16, dropout=0.1):
        super().__init__()
        self.inner, self.outer = nn.LazyLinear(hidden), nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.outer(self.dropout(F.gelu(self.inner(x))))


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body, self.head = Body(64 * in_channels), Head(num_classes)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)))


def tell(*_):
    print("span", BEGAN, now(), flush=True)


def build_model(num_classes, in_channels):
    model = Net(num_classes, in_channels)
    model(torch.zeros(2, in_channels, 8, 8))
    model.register_state_dict_post_hook(tell)  # when the weights are taken, at the end of `fit` for the last time
    return model
'''
SEED = """\
[seed]
files = ["model.py"]
frozen = ["now", "loss", "tell", "Net", "build_model"]

[task]
name = "image-classification"
dataset = "digits"

[budget]
steps = 1
batch_size = 64
time_limit = "60s"
memory = "2GiB"

[objectives]
accuracy = "max"
parameters = "min"
"""


def serve(latency):
    """Answers like the offline model, each after so many seconds. Prints its address; ends with its standard input.

    Each answer defines a few names of its own that nothing uses: rules repeat themselves, which real models hardly ever do,
    and a program that is known is not trained again.
    """
    from agent.llm import Message, Request
    from agent.llm.backends.offline import OfflineModel

    model, numbers = OfflineModel(), count(1)

    def invent(asked):
        number = next(numbers)
        facts = model.complete(Request(asked, number))
        own = ", ".join(f"{name}_{number}" for name in ("one", "two", "three", "four"))
        text = re.sub(r"^((?:class|def) .*:)$", rf"\1\n    {own} = 1, 2, 3, 4", facts.text, count=1, flags=re.MULTILINE)
        return text, facts.usage

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            began = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = tuple(Message(m["role"], m["content"]) for m in body["messages"])
            text, used = invent(asked)
            usage = {"prompt_tokens": used.tokens_in, "completion_tokens": used.tokens_out}
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "local", "choices": [choice]}
            data = json.dumps({**answer, "usage": {**usage, "total_tokens": sum(usage.values())}}).encode()
            time.sleep(max(0.0, latency - (time.monotonic() - began)))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    sys.stdin.read()


class Watched:
    """A sandbox of the run, with everything that passed through it: (stage, sources, asked, report, span inside)."""

    def __init__(self, sandbox, calls):
        self.level, self.close, self._run, self._calls = sandbox.level, sandbox.close, sandbox.run, calls

    def run(self, call, *arguments):
        asked = time.monotonic()
        report = self._run(call, *arguments)
        found = re.findall(r"^span (\S+) (\S+)$", report.log, re.MULTILINE)
        span = (float(found[-1][0]), float(found[-1][1])) if found else None
        self._calls.append((call.entry.partition(":")[2], call.sources["model.py"], asked, report, span))
        return report


def run(folder, address, arguments):
    """(calls of the sandboxes, start of the search, its end, events)."""
    from agent.journal.events import RunStarted
    from agent.run import components as components
    from agent.run import runner as experiment
    from agent.run.config_sources import load
    from agent.run.folder import RunFolder

    (folder / "seed").mkdir()
    (folder / "seed/model.py").write_text(MODEL.replace("TRAINING", repr(arguments.training)))
    (folder / "seed/seed.toml").write_text(SEED)
    settings = {
        "llm": {"models": ["openai/local"], "api_base": address, "concurrency": arguments.concurrency},
        "limits": {"variants": arguments.variants},
        "search": {"generations": 10**6, "first_population": 8, "schedule": "steady"},
        "sandbox": {"slots": arguments.slots},
        "noise": {"trainings": 0},
    }
    config = load(str(folder / "seed"), None, settings, [])
    calls, noted, open_sandbox = [], [], components.open_sandbox
    components.open_sandbox = lambda *which, **how: Watched(open_sandbox(*which, **how), calls)
    experiment.start(config, RunFolder(folder / "run"), lambda event: noted.append((time.monotonic(), event)))
    started = next(moment for moment, event in noted if isinstance(event, RunStarted))
    return calls, started, noted[-1][0], [event for _, event in noted]


def figures(calls, started, ended, events, slots):
    from agent.journal.events import Settled

    fits = sorted(span for stage, source, _, _, span in calls if stage == "fit" and span and span[0] > started)
    inside = sum(end - start for start, end in fits)
    first, last = fits[0][0], max(end for _, end in fits)
    wall = last - first
    outcomes = [e.outcome for e in events if isinstance(e, Settled)]
    stages = {}
    for stage, _, asked, report, _ in calls:
        if asked > started:
            stages.setdefault(stage, []).append((report.seconds, report.cpu_seconds))
    return {
        "slot_use": round(inside / (slots * wall), 4),
        "steady": steady(fits, slots),
        "limit": round(len(fits) / (slots * -(-len(fits) // slots)), 4),
        "whole_run": round(inside / (slots * (ended - started)), 4),
        "trainings": len(fits),
        "seconds": {"wall": round(wall, 2), "whole_run": round(ended - started, 2), "mean_inside": round(inside / len(fits), 4)},
        "gaps_ms": gaps(fits, slots),
        "at_the_edges_s": {
            "until_all_slots_train": round(fits[min(slots, len(fits)) - 1][0] - first, 3),
            "since_a_slot_was_last_given": round(last - fits[-1][0], 3),
        },
        "stages_s": {
            stage: {"calls": len(found), "wall": mean(s for s, _ in found), "cpu": mean(c for _, c in found)}
            for stage, found in stages.items()
        },
        "outcomes": dict(Counter(type(outcome).__name__ for outcome in outcomes)),
    }


def steady(fits, slots):
    """Slot use between the filling and the emptying of the slots; None where there is nothing between."""
    begins, ends = fits[min(slots, len(fits)) - 1][0], fits[-1][0]
    inside = sum(max(0.0, min(end, ends) - max(start, begins)) for start, end in fits)
    return round(inside / (slots * (ends - begins)), 4) if ends > begins else None


def gaps(fits, slots):
    """Milliseconds between the end of a training and the beginning of the one that takes its place."""
    ends = sorted(end for _, end in fits)
    found = sorted(1000 * (start - ends[i]) for i, (start, _) in enumerate(fits[slots:]))
    return {name: round(found[int(share * (len(found) - 1))], 1) for name, share in (("median", 0.5), ("p90", 0.9), ("max", 1.0))}


def mean(values):
    values = list(values)
    return round(sum(values) / len(values), 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--training", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.latency)
        return
    folder = Path(tempfile.mkdtemp(prefix="evolve-slots-"))
    os.environ.setdefault("EVOLVE_CACHE", str(folder / "cache"))
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--latency", str(arguments.latency)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        found = figures(*run(folder, server.stdout.readline().strip(), arguments), arguments.slots)
    finally:
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
    machine = {"cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[1], 2)}
    print(json.dumps({**vars(arguments), **found, **machine}, indent=2))


if __name__ == "__main__":
    main()
