"""Answers that crash, hang, lie or are empty: each becomes a failure with its stage, and the run continues."""

import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

HEAD = """\
class TinyCNN(nn.Module):
    def __init__(self, num_classes, in_channels, width=16):
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x):
"""
ANSWERS = {
    "smoke": HEAD + "        raise RuntimeError('crash')\n",
    "smoke shape": HEAD + "        return self.head(x.mean((2, 3)))[:, :3]\n",
    "fit": HEAD + "        import time\n        time.sleep(60 if len(x) > 8 else 0)\n        return self.head(x.mean((2, 3)))\n",
    "fit nan": HEAD + "        return self.head(x.mean((2, 3))) * (float('nan') if len(x) > 8 else 1)\n",
    "predict": HEAD + "        y = self.head(x.mean((2, 3)))\n        return y if self.training else y * float('inf')\n",
    "integrity": HEAD + "        return self.head((x + x.mean(0) * (not self.training) * 9).mean((2, 3)))\n",
    "contract": "def TinyCNN(x):\n    return x\n",
    "answer": None,
    "score": HEAD + "        return self.head(x.mean((2, 3)))\n",
    "trained": HEAD.replace("in_channels, num", "in_channels * 64, num") + "        return self.head(x.flatten(1))\n",
}


@contextmanager
def endpoint(kinds):
    """An OpenAI-compatible server that gives each candidate the next of these answers, whatever the prompt."""
    served: dict[str, str] = {}
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            first = request["messages"][1]["content"]
            # A repair carries the first prompt along: the same child gets the same answer.
            kind = served[first] if len(request["messages"]) > 2 else kinds[next(numbers) % len(kinds)]
            served[first] = kind
            code = ANSWERS[kind]
            text = f"Intention: {kind}.\nExpected effect: none.\n\n```python\n{code}```\n" if code else "I would rather not."
            body = json.dumps(
                {
                    "id": "1", "object": "chat.completion", "created": 1, "model": "local",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                }
            ).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def start(evolve, folder, kinds, *extra):
    shutil.copytree(ROOT / "seeds/tiny_cnn", folder / "seed", ignore=shutil.ignore_patterns("__pycache__"))
    seed = folder / "seed/seed.toml"
    seed.write_text(seed.read_text().replace('["build_model"]', '["build_model", "build_optimizer", "Stage"]'))
    settings = {"search.first_population": len(kinds), "budget.time_limit": "4s", "llm.concurrency": 1}
    options = ["--llm", "openai/local", "--out", "run", "--generations", "0", "--slots", "2", *extra]
    options += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with endpoint(kinds) as address:
        return evolve("run", "seed", "--api-base", address, *options, cwd=folder)


@pytest.fixture(scope="module")
def run(evolve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    done = start(evolve, folder, list(ANSWERS))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_every_bad_answer_is_a_failure_with_its_stage(evolve, run):
    listed = json.loads(evolve("show", run, "--json").stdout)
    for one in listed:
        intended = json.loads(evolve("show", run, one["id"], "--json").stdout)["answer"].split(".")[0].removeprefix("Intention: ")
        wanted = "answer" if intended.startswith("I would") else intended.split()[0]
        assert one["outcome"] == wanted, (intended, one["reason"])
        assert (one["fitness"] is None) == (one["outcome"] != "trained")
        assert one["reason"] or one["fitness"]


def test_the_counts_distinguish_invalid_from_failed(evolve, run):
    counts = json.loads(evolve("status", run, "--json").stdout)["counts"]
    assert counts == {"proposed": 10, "invalid": 2, "duplicate": 0, "failed": 7, "trained": 1}


def test_a_hanging_training_is_stopped_at_its_limit(evolve, run):
    listed = json.loads(evolve("show", run, "--json").stdout)
    assert any("longer than its limit of 4 s" in one["reason"] for one in listed)


def test_failures_that_parsed_are_kept_out_of_the_branch_list(evolve, run):
    refs = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], cwd=run / "lineage.git", capture_output=True, text=True)
    named = refs.stdout.split()
    assert len([r for r in named if r.startswith("refs/heads/")]) == 2  # the seed and the one that trained
    assert len([r for r in named if r.startswith("refs/evolve/run/")]) == 7


def test_a_run_in_which_nothing_trains_fails_with_the_reasons(evolve, tmp_path):
    failed = start(evolve, tmp_path, ["smoke", "answer"])
    assert failed.returncode == 1
    assert "RuntimeError: crash" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert json.loads(evolve("status", tmp_path / "run", "--json").stdout)["state"] == "failed"
