"""`evolve confirm` as a user meets it: whole runs of `tiny_cnn`, a sealed test split, kills and refusals."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from agent.cli import confirmation
from agent.review.confirmation import CHECK_FAILED
from tests.benchmarks.kill import copy_fast_seed
from tests.repositories import git

ROOT = Path(__file__).resolve().parents[2]
FEW = ("--llm", "offline", "--generations", "1", "--population", "4", "--slots", "2", "--set", "search.first_population=6",
       "--set", "noise.trainings=1")  # fmt: skip
SMALL = (*FEW, "--set", "budget.steps=2", "--set", "constraints.accuracy=>= 0")  # so little training is no better than chance
MARKER = b"SEALED-MARKER-7f3a"


def rows(run, *kinds):
    with closing(sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True)) as db:
        marks = ",".join("?" * len(kinds))
        found = db.execute(f"SELECT kind, key, data FROM events WHERE kind IN ({marks}) ORDER BY seq", kinds)
        return [(kind, key, json.loads(data)) for kind, key, data in found]


@pytest.fixture(scope="module")
def finished(evolve, tmp_path_factory):
    """A run whose search is done, with something on its front beside the seed."""
    place = tmp_path_factory.mktemp("confirm")
    copy_fast_seed(place)
    done = evolve("run", "seed", "--out", "run", *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "sealed test split: never opened" in done.stdout
    return place / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def status(evolve):
    return lambda run: json.loads(evolve("status", run, "--json").stdout)


@pytest.fixture
def start(cache, tmp_path):
    """Starts the command in the background."""
    started = []

    def begin(*arguments):
        environment = {**os.environ, "EVOLVE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "agent.cli", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(run, count, process):
    while len(rows(run, "retrained")) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_whole_confirmation(evolve, run, status):
    before = status(run)
    done = evolve("confirm", run, "--trainings", "3", "--members", "2")
    assert done.returncode == 0, done.stderr
    for word in ("seed", "null-1", "null-2", "p (Holm)", "shrinkage", "355 images", "3 trainings of each program", "no worse:",
                 "2 comparisons", '"confirmed" means', "opened once", "the copies of the seed were not confirmed"):  # fmt: skip
        assert word in done.stdout, word
    assert "to be confirmed: " in done.stderr and "the sealed test split is opened" in done.stderr
    after = status(run)
    found = after["confirmation"]
    assert (found["state"], found["made"], found["planned"], after["seal_openings"]) == ("complete", 15, 15, 1)
    assert [one["role"] for one in found["verdicts"]] == ["seed", "null", "null", "member", "member"]
    assert (after["state"], after["reason"], after["counts"], after["front"]) == tuple(
        before[key] for key in ("state", "reason", "counts", "front")
    )
    assert after["spend"]["seconds"] > before["spend"]["seconds"]
    for page in ("report.html", "report.md"):
        text = (run / page).read_text()
        assert "opened once" in text and "null-2" in text and found["verdicts"][-1]["text"].split(":")[0] in text
    shown = evolve("show", run).stdout
    assert found["verdicts"][-1]["text"] in shown and "opened once" in shown
    branches = {key: data["branch"] for _, key, data in rows(run, "committed")}
    for verdict in found["verdicts"][3:]:  # what git itself shows of a member
        note = git(run / "lineage.git", "log", "-1", "--notes=evolve/*", "--format=%N", branches[verdict["id"]])
        assert f"Confirmation 1: {verdict['text']} (3 trainings with fresh seeds, on the sealed test split)" in note
        assert "  accuracy " in note and "against the seed" in note
    seeds = [int(key.split("/")[1]) for _, key, _ in rows(run, "retrained")]
    assert len(set(seeds)) == 15 and not set(seeds) & {0, 1}

    again = evolve("confirm", run)
    assert again.returncode == 2
    assert again.stderr.count("Error: This run was confirmed already") == 1 and "--force" in again.stderr
    assert not again.stdout
    forced = evolve("confirm", run, "--force", "--trainings", "2", "--members", "1", "--json")
    assert json.loads(forced.stdout)["number"] == 2
    assert "opened 2 times" in evolve("status", run).stdout
    assert "opened 2 times" in evolve("report", run).stdout + (run / "report.md").read_text()
    assert len({key.split("/")[1] for _, key, _ in rows(run, "retrained")}) == 15 + 8


def test_the_front_of_a_run_that_found_nothing_is_not_confirmed(evolve, run, status):
    with closing(sqlite3.connect(run / "journal.db")) as db:
        db.execute("DELETE FROM events WHERE kind = 'settled' AND key <> 'seed'")
        db.commit()
    done = evolve("confirm", run)
    assert done.returncode == 2
    assert "Error: Nothing is to be confirmed: the front holds only the seed." in done.stderr
    assert status(run)["confirmation"] is None


def test_a_search_never_reads_a_test_label_and_nothing_of_it_holds_one(evolve, tmp_path):
    cache = tmp_path / "cache"
    env = {"EVOLVE_CACHE": str(cache)}
    copy_fast_seed(tmp_path)
    assert evolve("run", "seed", "--out", "first", *SMALL, cwd=tmp_path, env=env).returncode == 0
    (labels,) = cache.rglob("labels/test.npy")
    sealed = labels.read_bytes()
    labels.write_bytes(MARKER * 200)
    done = evolve("run", "seed", "--out", "run", *SMALL, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    for command in (("status",), ("show",), ("show", "0001"), ("report",)):
        assert evolve(command[0], run, *command[1:], env=env).returncode == 0
    assert MARKER.decode() not in done.stdout + done.stderr
    assert not [path for path in run.rglob("*") if path.is_file() and MARKER in path.read_bytes()]

    broken = evolve("confirm", run, "--trainings", "2", env=env)  # it does read them, and only after it said so
    assert broken.returncode == 1
    assert [kind for kind, *_ in rows(run, "shortlist", "opened", "retrained")] == ["shortlist", "opened"]
    assert json.loads(evolve("status", run, "--json", env=env).stdout)["seal_openings"] == 1
    labels.write_bytes(sealed)
    mended = evolve("confirm", run, env=env)
    assert mended.returncode == 0, mended.stderr
    facts = json.loads(evolve("status", run, "--json", env=env).stdout)
    assert (facts["confirmation"]["state"], facts["confirmation"]["trainings"], facts["seal_openings"]) == ("complete", 2, 1)
    assert facts["state"] == "finished"


def test_a_kill_in_the_middle_repeats_nothing_and_is_the_same_opening(evolve, run, start, status):
    process = start("confirm", "run", "--trainings", "8")
    wait_for(run, 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    half = rows(run, "shortlist", "opened", "retrained")
    facts = status(run)
    assert (facts["state"], facts["confirmation"]["state"], facts["seal_openings"]) == ("stopped", "interrupted", 1)
    assert {one["word"] for one in facts["confirmation"]["verdicts"]} == {None, "undecided"}
    assert "trainings made: undecided" in evolve("status", run).stdout
    other = evolve("confirm", run, "--trainings", "9")
    assert other.returncode == 2 and "was frozen with" in other.stderr
    done = evolve("confirm", run)
    assert done.returncode == 0, done.stderr
    whole = rows(run, "shortlist", "opened", "retrained")
    assert [row for row in whole if row in half] == half
    assert [kind for kind, *_ in whole].count("shortlist") == [kind for kind, *_ in whole].count("opened") == 1
    keys = [key for kind, key, _ in whole if kind == "retrained"]
    assert len(keys) == len(set(keys)) == status(run)["confirmation"]["planned"]
    assert status(run)["state"] == "finished"


def test_ctrl_c_stops_it_and_a_resume_goes_on(evolve, run, start, status):
    process = start("confirm", "run", "--trainings", "8")
    wait_for(run, 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "undecided" in out and "Go on with:  evolve confirm run" in err
    facts = status(run)
    assert (facts["state"], facts["reason"]) == ("stopped", "stopped by the user during the confirmation")
    done = evolve("resume", run)
    assert done.returncode == 0, done.stderr
    facts = status(run)
    assert (facts["state"], facts["confirmation"]["state"], facts["seal_openings"]) == ("finished", "complete", 1)
    assert facts["counts"]["proposed"] == 10


class TestAtTheEnd:
    def test_a_run_with_a_reserve_confirms_itself(self, evolve, tmp_path, status):
        copy_fast_seed(tmp_path)
        done = evolve("run", "seed", "--out", "run", *SMALL, "--hours", "1", "--set", "confirm.trainings=2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "the search is over; its front is confirmed now" in done.stderr
        assert "sealed test split: opened once" in done.stdout
        kinds = [kind for kind, *_ in rows(tmp_path / "run", "settled", "searched", "shortlist", "verdicts", "ended")]
        assert kinds[-4:] == ["searched", "shortlist", "verdicts", "ended"]
        resumed = evolve("resume", tmp_path / "run")
        assert resumed.returncode == 0 and "to be confirmed" not in resumed.stderr
        assert status(tmp_path / "run")["seal_openings"] == 1

    def test_a_time_that_is_over_leaves_it_undecided_and_resumable(self, evolve, run, start, status):
        process = start("confirm", "run", "--trainings", "400")
        wait_for(run, 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = len(rows(run, "retrained"))
        hours = (status(run)["spend"]["seconds"] + 20) / 3600
        limits = ("--hours", hours, "--set", "limits.grace_seconds=0", "--set", "limits.reserve=0.9")
        done = evolve("resume", run, *limits)
        assert done.returncode == 0, done.stderr
        facts = status(run)
        assert facts["state"] == "finished" and "the confirmation is not finished (hours: " in facts["reason"]
        found = facts["confirmation"]
        assert found["state"] == "interrupted" and before < found["made"] < found["planned"]
        assert not [row for row in rows(run, "retrained") if row[2]["reason"]]  # what was cut off is no failure
        assert {one["word"] for one in found["verdicts"]} == {None, "undecided"}

    def test_it_can_be_switched_off(self, evolve, run, status):
        done = evolve("resume", run, "--hours", "1", "--set", "confirm.at_end=false")
        assert done.returncode == 0, done.stderr
        assert status(run)["confirmation"] is None


def test_a_script_is_confirmed_by_repeats_alone(evolve, tmp_path, status):
    (tmp_path / "train.py").write_text(
        "import torch\n\n\ndef width(size=8):\n    return size\n\n\ndef rate(lr=0.1):\n    return lr\n\n\n"
        'if __name__ == "__main__":\n    noise = float(torch.randn(()))\n    print(f"loss: {rate() + width() + noise / 100}")\n'
    )
    script = ("--command", "python train.py", "--metric", "loss:min", *FEW)
    done = evolve("run", "train.py", *script, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    confirmed = evolve("confirm", tmp_path / "run", "--trainings", "2")
    if "holds only the seed" in confirmed.stderr:
        pytest.skip("the offline model found nothing on this script")
    assert confirmed.returncode == 0, confirmed.stderr
    facts = status(tmp_path / "run")
    assert (facts["confirmation"]["split"], facts["seal_openings"], facts["has_test_split"]) == ("validation", 0, False)
    assert "no sealed test split" in confirmed.stdout and "nothing can be sealed from a script" in confirmed.stdout
    assert evolve("confirm", tmp_path / "run").returncode == 2


def test_a_failed_check_is_shown_in_red(monkeypatch):
    null = {"id": "null-1", "role": "null", "word": "better", "text": "confirmed better on accuracy; no worse elsewhere",
            "trainings": 5, "failures": ["fit: NaN", "fit: NaN"], "objectives": [], "false_discovery": False}  # fmt: skip
    facts = {"number": 1, "state": "complete", "split": "test", "test_note": "its own", "trainings": 5, "planned": 5, "made": 5,
             "confidence": 0.95, "margin": 2.0, "comparisons": 1, "sigma": {}, "check": "failed", "check_failed": True,
             "verdicts": [null]}  # fmt: skip
    status = {"confirmation": facts, "null": None, "objectives": {}, "seal_openings": 1, "has_test_split": True,
              "state": "finished"}  # fmt: skip
    page = StringIO()
    console = Console(file=page, force_terminal=True, color_system="standard", width=400)
    monkeypatch.setattr(confirmation, "stdout_console", lambda: console)
    confirmation.print_confirmation(status)
    red = "\x1b[1;31m"
    assert f"{red}{CHECK_FAILED}" in page.getvalue()
    assert f"{red}a copy of the seed: confirmed better" in page.getvalue()
    assert "null-1 failed in 2 of its trainings: fit: NaN" in page.getvalue()
    assert (CHECK_FAILED, "bold red") in confirmation.verdict_lines(status)
