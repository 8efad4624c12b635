"""`evolve run --null`: the whole machinery on edits that change nothing, and how loudly it says so."""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from io import StringIO

import pytest
from rich.console import Console

from agent.cli import confirmation
from tests.benchmarks.kill import copy_fast_seed
from tests.cli.test_confirm import rows

pytestmark = pytest.mark.slow  # whole runs

SIZES = ("--set", "search.first_population=5", "--generations", "1", "--population", "5", "--slots", "2")
SMALL = (*SIZES, "--set", "budget.steps=12", "--set", "constraints.accuracy=>= 0", "--set", "noise.trainings=3")
CONFIRM = ("--set", "confirm.at_end=true", "--set", "confirm.trainings=2")
WARNING = "NULL RUN (A/A)"


@pytest.fixture(scope="module")
def place(evolve, tmp_path_factory):
    place = tmp_path_factory.mktemp("null")
    copy_fast_seed(place)
    for command in (["init", "-q"], ["add", "seed"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "seed"]):
        subprocess.run(["git", *command], cwd=place, check=True)
    done = evolve("run", "seed", "--null", "--out", "run", *SMALL, *CONFIRM, cwd=place)
    assert done.returncode == 0, done.stderr
    assert WARNING in done.stderr and WARNING in done.stdout
    return place


def settled(run):
    return {key: data for _, key, data in rows(run, "settled")}


def test_everything_takes_part_and_no_model_does(place, evolve):
    run = place / "run"
    status = json.loads(evolve("status", run, "--json").stdout)
    shown = json.loads(evolve("show", run, "--json").stdout)
    assert status["spend"]["llm_calls"] == 0 and status["counts"]["proposed"] == 10
    assert status["counts"]["invalid"] == status["counts"]["failed"] == 0
    assert {one["operator"] for one in shown} <= {"null", "splice"} and "null" in {one["operator"] for one in shown}
    assert len(rows(run, "learned")) >= status["counts"]["trained"]
    branches = subprocess.run(["git", "branch", "--list", "evolve/run/*"], cwd=place, capture_output=True, text=True).stdout
    assert branches.count("evolve/run/") == status["counts"]["trained"] + 1
    assert status["confirmation"]["state"] == "complete" and status["seal_openings"] == 1
    assert WARNING in (run / "report.html").read_text() and WARNING in (run / "report.md").read_text()


def test_only_chance_tells_its_candidates_apart(place, evolve):
    found = settled(place / "run")
    trained = {key: data for key, data in found.items() if data["outcome"] in ("seed", "trained")}
    assert len({data["fitness"]["parameters"] for data in trained.values()}) == 1
    curves = [json.dumps(data["evidence"]["curve"]) for data in trained.values()]
    assert len(set(curves)) == len(curves), "each has a training seed of its own"
    null = json.loads(evolve("status", place / "run", "--json").stdout)["null"]
    assert null["not_null"] == [] and set(null["called_better"]) | set(null["called_worse"]) <= {*trained}


def test_a_run_with_models_is_no_null_run(place, evolve):
    both = evolve("run", "seed", "--null", "--llm", "offline", "--out", "both", *SMALL, cwd=place)
    assert both.returncode == 2 and "asks no model" in both.stderr and not (place / "both").exists()


def test_it_is_resumed_as_one(place, evolve, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    more = evolve("resume", tmp_path / "run", "--set", "search.generations=2")
    assert more.returncode == 0, more.stderr
    assert WARNING in more.stderr
    seeds = [json.dumps(one["evidence"]["curve"]) for one in settled(tmp_path / "run").values() if one["outcome"] == "trained"]
    assert len(settled(tmp_path / "run")) == 16 and len({*seeds}) == len(seeds)


def test_a_candidate_of_it_is_reproduced_with_its_own_training_seed(place, evolve):
    done = evolve("reproduce", place / "run", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = json.loads(done.stdout)["readings"]
    assert (one["training_seed"], one["word"], one["curve"]) == (500_001, "equal", "equal")


def test_what_is_confirmed_in_it_is_a_false_discovery_in_red(place, evolve, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    with closing(sqlite3.connect(run / "journal.db")) as db:
        data = json.loads(db.execute("SELECT data FROM events WHERE kind = 'verdicts'").fetchone()[0])
        member = next(one for one in data["verdicts"] if one["role"] == "member")
        member |= {"word": "better", "text": "confirmed better on accuracy; no worse elsewhere"}
        db.execute("UPDATE events SET data = ? WHERE kind = 'verdicts'", [json.dumps(data)])
        db.commit()
    status = json.loads(evolve("status", run, "--json").stdout)
    assert status["null"]["false_discoveries"] == [member["id"]]
    text = f"{member['id']}: FALSE DISCOVERY: confirmed better on accuracy"
    assert text in evolve("status", run).stdout and f"FALSE DISCOVERY: {member['id']} came out" in evolve("status", run).stdout
    assert evolve("report", run).returncode == 0
    assert '<td class="alarm">FALSE DISCOVERY: confirmed better' in (run / "report.html").read_text()
    assert "**FALSE DISCOVERY: confirmed better" in (run / "report.md").read_text()
    page = StringIO()
    console = Console(file=page, force_terminal=True, color_system="standard", width=400)
    monkeypatch.setattr(confirmation, "stdout_console", lambda: console)
    confirmation.print_confirmation(status)
    assert page.getvalue().count("\x1b[1;31mFALSE DISCOVERY") == 2
    lines = confirmation.verdict_lines(status)
    assert [style for line, style in lines if "FALSE DISCOVERY" in line] == ["bold red"] * 2


def test_in_any_other_run_nothing_is_said_of_it(evolve, tmp_path):
    copy_fast_seed(tmp_path)
    done = evolve("run", "seed", "--llm", "offline", "--out", "run", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert WARNING not in done.stdout + done.stderr + (tmp_path / "run/report.md").read_text()
    assert json.loads(evolve("status", tmp_path / "run", "--json").stdout)["null"] is None
