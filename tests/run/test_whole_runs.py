"""Whole unattended runs: budgets, resumes, closed terminals and failing machines. Real runs, an LLM on loopback."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks.kill import copy_fast_seed, descendants, kind_of
from tests.benchmarks.loopback import LoopbackLLM

ROOT = Path(__file__).resolve().parents[2]
FAST = {
    "budget.steps": 2, "constraints.accuracy": ">= 0",  # so little training is no better than chance
    "noise.trainings": 0, "search.first_population": 4, "search.population": 2, "sandbox.slots": 2,
}  # fmt: skip
PRICES = '--set=llm.prices."openai/loopback"=[1.0, 5.0]'


def settings(**more):
    chosen = {**FAST, "search.generations": 1, **{key.replace("__", "."): value for key, value in more.items()}}
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def events(run, kind):
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as db:
        found = db.execute("SELECT key, data FROM events WHERE kind = ? ORDER BY seq", [kind])
        return {key: json.loads(data) for key, data in found}


def order(run):
    """(kind, key) of each event, without the check of the models before the seed trains."""
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT kind, key FROM events ORDER BY seq").fetchall()
    return [(kind, key) for kind, key in rows if kind != "checked" and not key.startswith("check")]


def wait_for(run, kind, count, process):
    while True:
        try:
            if len(events(run, kind)) >= count:
                return
        except sqlite3.OperationalError:  # the file or its tables are not there yet
            pass
        assert process.poll() is None, f"it ended before it had {count} of {kind}"
        time.sleep(0.01)


def is_whole(run):
    """Check that every proposed candidate has an outcome, and that ids are consecutive."""
    proposed = list(events(run, "drawn"))
    assert proposed == [f"{n:04d}" for n in range(1, len(proposed) + 1)]
    assert events(run, "settled").keys() == {"seed", *proposed}
    return len(proposed)


@pytest.fixture
def llm():
    server = LoopbackLLM()
    yield server
    server.stop()


@pytest.fixture
def model(llm):
    return ["--llm", "openai/loopback", "--api-base", llm.url]


@pytest.mark.slow
def test_a_whole_run_from_its_forecast_to_its_final_message_and_a_resume(start, model, llm, hook, tmp_path, evolve):
    url, printed = hook
    run = tmp_path / "run"
    final = ["--notify", url, "--on-finish", f"sh {tmp_path}/after.sh"]
    (tmp_path / "after.sh").write_text(f"cat > {tmp_path}/after.json\n")
    budgets = ["--hours", 2, "--usd", 1, PRICES]
    out, output = start("run", "seed", *model, "--out", "run", *budgets, *settings(), *final).communicate()
    assert "forecast: " in output and "USD a variant; " in output and "more variants by " in output
    # Told when one child had been paid for.
    first = [(kind, key[:4]) for kind, key in order(run) if kind in ("asked", "bred", "settled") and key[:4].isdigit()]
    assert {key for kind, key in first[: first.index(next(e for e in first if e[0] != "asked"))]} == {first[0][1]}
    assert len(out.splitlines()) + 1 <= 24
    (words,) = printed
    assert (words["state"], words["exit_code"], words["counts"]["proposed"]) == ("finished", 0, 6)
    assert json.loads((tmp_path / "after.json").read_text()) == words
    written = [path for path in run.rglob("*") if path.is_file() and b"secret-path" in path.read_bytes()]
    assert written == []

    (tmp_path / "seed/model.py").write_text((tmp_path / "seed/model.py").read_text() + "\n# a thought\n")
    env = {"OPENAI_API_KEY": "k"}
    refused = evolve("resume", "run", "--set", "search.generations=2", cwd=tmp_path, env=env)
    assert refused.returncode == 2
    assert "seed/model.py changed" in refused.stderr and "--accept-changes" in refused.stderr
    assert "search.generations" not in refused.stderr  # this was said, and is no surprise
    calls = sum(llm.calls.values())
    resumed = evolve("resume", "run", "--set", "search.generations=2", "--accept-changes", cwd=tmp_path, env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert is_whole(run) == 8
    *_, last = events(run, "started").values()
    assert last["accepted"] == ["search.generations: 1 -> 2", "seed/model.py changed"]
    assert sum(llm.calls.values()) == len(events(run, "answered")) > calls


@pytest.mark.slow
def test_a_wrong_key_ends_a_run_at_once(start, tmp_path):
    class Strict(LoopbackLLM):
        def serve(self, handler, messages):
            with self.lock:
                self.calls["refused"] += 1
            handler.reply(401, b'{"error": {"message": "Incorrect API key provided."}}')

    server = Strict()
    process = start("run", "seed", "--llm", "openai/loopback", "--api-base", server.url, "--out", "run", *settings())
    _, output = process.communicate()
    server.stop()
    assert process.returncode == 1
    assert "Check the key" in output and "evolve resume run" in output and "Traceback" not in output
    assert server.calls["refused"] <= 2  # the first child goes ahead alone, and its answer is not asked for again


SLEEPERS = """
import pathlib, sys
if "`scale`" in sys.stdin.read():  # the question before the seed trains
    print("Intention: three.\\n\\n```python\\ndef scale(x):\\n    return 3 * x\\n```")
    sys.exit()
place = pathlib.Path(sys.argv[1])
if "This is a check" in sys.stdin.read():
    sys.exit(print("Ready."))
number = len(list(place.iterdir()))
(place / str(number)).touch()
print(f'''Intention: wait.

```python
class TinyCNN(nn.Module):
    def __init__(self, num_classes, in_channels, width=16):
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        import time
        time.sleep({number} * 300 if len(x) > 8 else 0)
        return self.head(x.mean((2, 3))) * {number + 1}.0
```''')
"""


@pytest.mark.slow
def test_work_under_way_is_ended_after_the_grace_and_continued_by_a_resume(start, tmp_path):
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    (tmp_path / "calls").mkdir()
    toml = tmp_path / "seed/seed.toml"
    frozen = toml.read_text().replace('["build_model"]', '["build_model", "build_optimizer", "Stage"]')
    toml.write_text(frozen.replace("30s", "300s"))
    limits = {"limits__hours": 0.015, "limits__reserve": 0, "limits__grace_seconds": 2, "llm__concurrency": 1}
    sleepers = f"cmd:{sys.executable} {tmp_path}/sleepers.py {tmp_path}/calls"
    process = start("run", "seed", "--llm", sleepers, "--out", "run", *settings(**limits, llm__redraws=0))
    run = tmp_path / "run"
    wait_for(run, "settled", 2, process)  # the seed and the one that does not sleep
    _, output = process.communicate()
    assert process.returncode == 0, output
    (ended,) = events(run, "ended").values()
    assert ended["state"] == "finished"
    assert ended["reason"].startswith("hours: ") and ended["reason"].endswith("after the grace was ended")
    left = events(run, "drawn").keys() - events(run, "settled").keys()
    assert left  # no sleeper had its time
    calls = len(list((tmp_path / "calls").iterdir()))
    resumed = start("resume", "run", "--hours", 1, "--set", "budget.time_limit=3s", "--set", f"limits.variants={calls}")
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    assert is_whole(run) == calls == len(list((tmp_path / "calls").iterdir()))  # no answer was asked for again


@pytest.mark.slow
def test_a_run_waits_for_a_provider_that_is_down_and_continues_when_it_answers(start, tmp_path, hook, evolve):
    class Down(LoopbackLLM):
        down = answered = False

        def serve(self, handler, messages):
            if self.down and self.answered:
                handler.reply(503, b'{"error": {"message": "overloaded"}}')
            else:
                super().serve(handler, messages)
            self.answered = True  # the check before the seed trains

    server, (url, printed) = Down(), hook
    server.down = True
    cool_downs = settings(llm__rest_after=1, llm__rest_seconds=0.5)
    address = ["--llm", "openai/loopback", "--api-base", server.url]
    process = start("run", "seed", *address, "--out", "run", "--notify", url, *cool_downs)
    run = tmp_path / "run"
    wait_for(run, "rests", 2, process)
    facts = json.loads(evolve("status", "run", "--json", cwd=tmp_path).stdout)
    assert facts["state"] == "running"
    assert [one["model"] for one in facts["waiting"]] == ["openai/loopback"]
    assert "no model answers: openai/loopback does not answer" in printed[0]["text"]
    server.down = False
    _, output = process.communicate()
    server.stop()
    assert process.returncode == 0, output
    assert "the run waits" in output and "answers again" in output
    assert is_whole(run) == 6
    assert [words["state"] for words in printed] == ["waiting", "finished"]


@pytest.mark.slow
def test_without_patience_a_provider_that_is_down_ends_the_run_which_can_be_resumed(start, tmp_path, model, llm):
    process = start("run", "seed", "--llm", "openai/x", "--api-base", "http://127.0.0.1:9/v1", "--out", "run",
                    *settings(llm__patience_hours=0))  # fmt: skip
    _, output = process.communicate()
    assert process.returncode == 1
    assert "does not answer" in output and "evolve resume run" in output and "Traceback" not in output
    resumed = start("resume", "run", "--set", f'llm.api_base="{llm.url}"')
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    assert is_whole(tmp_path / "run") == 6


@pytest.mark.slow
def test_a_closed_terminal_ends_nothing(cache, tmp_path):
    copy_fast_seed(tmp_path)
    environment = {**os.environ, "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "agent.cli", "run", "seed", "--llm", "offline", "--out", "run", *settings()]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(command[0], command, environment)
    shown = b""
    while b"forecast" not in shown:  # the panel stands
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)  # SIGHUP for the run, and an error for whatever it writes from now on
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert is_whole(tmp_path / "run") == 6


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["fork server", "editor"])
def test_a_helper_process_that_is_killed_is_replaced_and_costs_no_variant(start, tmp_path, model, victim):
    process = start("run", "seed", *model, "--out", "run", *settings(search__generations=3))
    wait_for(tmp_path / "run", "settled", 3, process)
    pids = [pid for pid in descendants(process.pid) if kind_of(pid) == victim]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    _, output = process.communicate()
    assert process.returncode == 0, output
    assert is_whole(tmp_path / "run") == 10
    assert not [one for one in events(tmp_path / "run", "settled").values() if one["outcome"] == "failed"]


def breaks(start, evolve, tmp_path, process, message):
    """The run ends with one sentence, and a resume works once the cause is repaired."""
    _, output = process.communicate()
    assert process.returncode == 1, output
    assert [line for line in output.splitlines() if line.startswith("Failed: ")], output
    assert message in output and "evolve resume" in output and "Traceback" not in output
    assert json.loads(evolve("status", "run", "--json", cwd=tmp_path).stdout)["state"] in ("failed", "stopped")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk(start, evolve, tmp_path, model, request):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(small)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(small)], check=True))
    (tmp_path / "run").symlink_to(small / "run")

    process = start("run", "seed", *model, "--out", "small/run", *settings(search__generations=40))
    breaks(start, evolve, tmp_path, process, "cannot")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    answered = events(tmp_path / "run", "answered")
    resumed = start("resume", "small/run", "--set", f"limits.variants={len(events(tmp_path / 'run', 'drawn'))}")
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    is_whole(tmp_path / "run")
    assert answered.items() <= events(tmp_path / "run", "answered").items()


@pytest.mark.slow
def test_a_scratch_folder_that_was_removed(start, evolve, tmp_path, model):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = start("run", "seed", *model, "--out", "run", *settings(search__generations=40), env={"TMPDIR": str(scratch)})
    wait_for(tmp_path / "run", "settled", 3, process)
    while scratch.exists():  # the run may put something into it meanwhile
        shutil.rmtree(scratch, ignore_errors=True)
    breaks(start, evolve, tmp_path, process, "cannot")
    scratch.mkdir(exist_ok=True)
    variants = len(events(tmp_path / "run", "drawn"))
    resumed = start("resume", "run", "--set", f"limits.variants={variants}", env={"TMPDIR": str(scratch)})
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    assert is_whole(tmp_path / "run") == variants


@pytest.mark.slow
def test_locks_that_a_killed_git_left_behind(start, tmp_path, model):
    process = start("run", "seed", *model, "--out", "run", *settings(search__generations=4))
    wait_for(tmp_path / "run", "committed", 1, process)
    folder = tmp_path / "run/lineage.git/refs/heads/evolve/run"
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(6, 13):
        (folder / f"{n:04d}.lock").touch()
    _, output = process.communicate()
    assert process.returncode == 0, output
    assert is_whole(tmp_path / "run") == 12
    assert branches(tmp_path / "run") == trained(tmp_path / "run")


@pytest.mark.slow
def test_a_branch_that_git_cannot_write(start, evolve, tmp_path, model):
    process = start("run", "seed", *model, "--out", "run", *settings(search__generations=4))
    wait_for(tmp_path / "run", "committed", 1, process)
    seed = next(iter(events(tmp_path / "run", "committed").values()))["commit"]
    names = [tmp_path / f"run/lineage.git/refs/heads/evolve/run/{n:04d}" for n in range(6, 13)]
    for name in names:  # a folder with a branch in it, where a branch should be
        name.mkdir(parents=True)
        (name / "x").write_text(seed + "\n")
    breaks(start, evolve, tmp_path, process, "git cannot write")
    for name in names:
        shutil.rmtree(name)
    resumed = start("resume", "run")
    _, output = resumed.communicate()
    assert resumed.returncode == 0, output
    assert is_whole(tmp_path / "run") == 12
    assert branches(tmp_path / "run") == trained(tmp_path / "run")


def branches(run):
    own = ["git", "--git-dir", run / "lineage.git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/heads/evolve"]
    return set(subprocess.run(own, capture_output=True, text=True, check=True).stdout.split())


def trained(run):
    return {key for key, one in events(run, "settled").items() if one["outcome"] in ("seed", "trained")}


def play(benchmark, *arguments):
    command = [sys.executable, ROOT / f"tests/benchmarks/{benchmark}.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    return done, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_few_rounds_of_kill_minus_9_lose_nothing_and_pay_nothing_twice():
    done, figures = play("kill", "--rounds", 5, "--variants", 20)
    assert figures["faults"] == []
    assert sum(figures["kills"].values()) >= 5
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_calls_that_fail_and_evaluations_that_die_leave_the_counts_right():
    done, figures = play("chaos", "--variants", 24)
    assert figures["faults"] == []
    assert sum(figures["outcomes"].values()) == 24
    assert done.returncode == 0
