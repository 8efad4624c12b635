"""The command as a user meets it: real runs on real data in real repositories."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.data import load

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "search.first_population=4", "--generations", "1", "--population", "4", "--slots", "2")
SMALL += ("--schedule", "generational")  # the one that is a function of its seed
GIT = {**os.environ, "GIT_AUTHOR_NAME": "u", "GIT_AUTHOR_EMAIL": "u@u", "GIT_COMMITTER_NAME": "u", "GIT_COMMITTER_EMAIL": "u@u"}


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, env=GIT, capture_output=True, text=True, check=True).stdout


def copy_seed(folder):
    shutil.copytree(ROOT / "seeds/tiny_cnn", folder, ignore=shutil.ignore_patterns("__pycache__"))


def rows(run, kind):
    query = "SELECT key, data FROM events WHERE kind = ? ORDER BY seq"
    with sqlite3.connect(f"file:{run / 'journal.db'}?mode=ro", uri=True) as db:
        return {key: json.loads(data) for key, data in db.execute(query, [kind])}


def wait_until_settled(run, count):
    """Until a run in another process has that many results."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if len(rows(run, "settled")) >= count:
                return
        except sqlite3.OperationalError:  # the file or its tables are not there yet
            pass
        time.sleep(0.02)
    raise TimeoutError(f"{run} has no {count} results")


def results(run):
    """What a run is made of, without its timings."""
    timed = ("evidence", "seconds")
    settled = {id: {k: v for k, v in data.items() if k not in timed} for id, data in rows(run, "settled").items()}
    answers = {key: data["text"] for key, data in rows(run, "answered").items()}
    generations = {key: data["population"] for key, data in rows(run, "generation").items()}
    return rows(run, "drawn"), settled, answers, generations


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's repository with the seed in a folder, and work in progress."""
    folder = tmp_path_factory.mktemp("project")
    copy_seed(folder / "nets/tiny")
    (folder / "notes.txt").write_text("one\n")
    git(folder, "init", "-q", "-b", "work")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "begin")
    (folder / "notes.txt").write_text("two\n")
    git(folder, "add", "notes.txt")
    (folder / "notes.txt").write_text("three\n")
    (folder / "scratch.txt").write_text("untracked\n")
    return folder


@pytest.fixture(scope="module")
def finished(evolve, project):
    before = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD"), (project / ".git/index").read_bytes()
    done = evolve("run", "nets/tiny", "--llm", "offline", "--out", "../night", *SMALL, cwd=project)
    assert done.returncode == 0, done.stderr
    after = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD"), (project / ".git/index").read_bytes()
    assert before == after
    return project.parent / "night"


def test_status_prints_the_agreed_facts(evolve, finished):
    facts = json.loads(evolve("status", finished, "--json").stdout)
    assert (facts["run"], facts["state"], facts["schedule"]) == ("night", "finished", "generational")
    assert set(facts["counts"]) == {"proposed", "invalid", "duplicate", "failed", "trained"}
    assert facts["counts"]["proposed"] == sum(facts["counts"].values()) - facts["counts"]["proposed"]
    assert facts["counts"]["trained"] >= 3
    assert set(facts["seed"]["fitness"]) == {"accuracy", "parameters"}
    assert facts["hypervolume"] >= 1
    assert {"usd", "tokens_in", "tokens_out", "llm_calls", "seconds"} <= set(facts["spend"])
    assert facts["isolation"] in ("full", "contained")
    for member in facts["front"]:
        assert set(member) >= {"id", "branch", "fitness"}


def test_each_individual_is_a_branch_with_its_parents(evolve, finished, project):
    listed = json.loads(evolve("show", finished, "--json").stdout)
    branches = set(git(project, "branch", "--list", "evolve/night/*", "--format=%(refname:short)").split())
    trained = [one for one in listed if one["fitness"]]
    assert branches == {one["branch"] for one in trained} | {"evolve/night/seed"}
    for one in trained:
        commits = git(project, "log", "-1", "--format=%P", one["branch"]).split()
        named = [git(project, "rev-parse", f"evolve/night/{parent}").strip() for parent in one["parents"]]
        assert commits == named
        trailers = git(project, "log", "-1", "--format=%(trailers)", one["branch"])
        assert f"Variant: {one['id']}" in trailers
        assert "Accuracy: " in trailers
        changed = git(project, "diff", "--name-only", "HEAD", one["branch"]).split()
        assert changed in (["nets/tiny/model.py"], [])


def test_show_explains_a_variant(evolve, finished):
    listed = json.loads(evolve("show", finished, "--json").stdout)
    keys = {"id", "branch", "parents", "operator", "block", "role", "directive", "model", "temperature", "fitness", "outcome",
            "reason", "seconds", "usd"}  # fmt: skip
    assert all(set(one) >= keys for one in listed)
    one = next(one for one in listed if one["fitness"])
    facts = json.loads(evolve("show", finished, one["id"], "--json").stdout)
    assert set(facts) >= keys | {"diff", "prompt", "answer"}
    assert facts["outcome"] == "trained"
    assert "## Objectives" in facts["prompt"]
    assert "```python" in facts["answer"]
    printed = evolve("show", finished, one["id"]).stdout
    assert facts["answer"].splitlines()[0] in printed
    assert str(one["parents"][0]) in printed


def test_a_diff_applies_to_the_seed(evolve, finished, project, tmp_path):
    member = next(m for m in json.loads(evolve("show", finished, "--json").stdout) if m["fitness"])
    shutil.copy(project / "nets/tiny/model.py", tmp_path / "model.py")
    patch = evolve("diff", finished, member["id"]).stdout
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch, text=True, check=True)
    assert (tmp_path / "model.py").read_text() == git(project, "show", f"{member['branch']}:nets/tiny/model.py")


def changed_lines(diff):
    return [line for line in diff.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]


def test_the_diff_of_one_step_is_against_the_parent(evolve, finished, project):
    shown = json.loads(evolve("show", finished, "--json").stdout)
    later = next(one for one in shown if one["branch"] and one["parents"] != ["seed"])
    branch = {one["id"]: one["branch"] for one in shown}[later["parents"][0]]
    step = evolve("diff", finished, later["id"], "--parent").stdout
    assert changed_lines(step) == changed_lines(git(project, "diff", branch, later["branch"]))


def test_an_unknown_variant_is_one_sentence(evolve, finished):
    shown = evolve("show", finished, "9999")
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_a_killed_one_ends_the_same(evolve, finished, project, cache):
    """kill -9 in the middle, resume: every draw, answer and fitness as in the unbroken run, and no call made twice."""
    run = project.parent / "killed"
    command = [sys.executable, "-m", "agent.cli", "run", "nets/tiny", "--llm", "offline", "--out", "../killed", *SMALL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVOLVE_CACHE": str(cache)}  # which keeps the secret of all orders
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_settled(run, 3)
    process.kill()
    process.wait()
    paid = len(rows(run, "answered"))
    assert json.loads(evolve("status", run, "--json").stdout)["state"] == "stopped"
    resumed = evolve("resume", run, cwd=project)
    assert resumed.returncode == 0, resumed.stderr
    assert results(run) == results(finished)
    assert len(rows(run, "answered")) >= paid
    assert json.loads(evolve("status", run, "--json").stdout)["state"] == "finished"
    branches = [git(project, "branch", "--list", f"evolve/{name}/*").count("\n") for name in ("killed", "night")]
    assert branches[0] == branches[1] > 1


@pytest.fixture
def long_run(tmp_path):
    """A run of many generations in another process, once its seed is trained: (folder, process)."""
    copy_seed(tmp_path / "seed")
    command = [sys.executable, "-m", "agent.cli", "run", "seed", "--llm", "offline", "--out", "run", "--generations", "50"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, **quiet)
    wait_until_settled(tmp_path / "run", 2)
    yield tmp_path / "run", process
    process.kill()


@pytest.mark.slow
def test_a_second_process_is_refused(evolve, long_run):
    run, _ = long_run
    facts = json.loads(evolve("status", run, "--json").stdout)
    assert facts["state"] == "running"
    assert facts["forecast"]["seconds_per_variant"] > 0 and facts["forecast"]["limit"] == "planned"
    assert 0 < facts["forecast"]["variants"] <= 32 + 50 * 8
    second = evolve("resume", run)
    assert second.returncode == 2
    assert "Another process" in second.stderr


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_under_way_and_prints_how_to_resume(evolve, long_run):
    run, process = long_run
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "evolve resume run" in printed
    assert "Traceback" not in printed
    facts = json.loads(evolve("status", run, "--json").stdout)
    assert (facts["state"], facts["reason"]) == ("stopped", "stopped by the user")
    bred, settled = rows(run, "bred"), rows(run, "settled")
    assert set(settled) - {"seed"} <= set(bred)
    own = subprocess.run(["git", "--git-dir", run / "lineage.git", "branch"], capture_output=True, text=True, check=True).stdout
    assert "evolve/run/seed" in own  # a seed outside of any repository gets one in the run folder


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(evolve, long_run):
    run, process = long_run
    settled = rows(run, "settled")
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert settled.items() <= rows(run, "settled").items()
    assert json.loads(evolve("status", run, "--json").stdout)["state"] == "stopped"


@pytest.mark.slow
def test_stop_asks_a_run_to_end_and_a_closed_terminal_does_not(evolve, long_run):
    run, process = long_run
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    assert evolve("stop", run).returncode == 0
    assert process.wait(timeout=5) == 130
    assert json.loads(evolve("status", run, "--json").stdout)["reason"] == "stopped by SIGTERM"
    again = evolve("stop", run)
    assert (again.returncode, again.stderr.strip()) == (2, f"Error: No process is working on {run}.")


@pytest.mark.slow
def test_a_detached_run_continues_in_the_background(evolve, tmp_path):
    copy_seed(tmp_path / "seed")
    started = evolve("run", "seed", "--llm", "offline", "--out", "run", "--detach", *SMALL, cwd=tmp_path)
    assert started.returncode == 0, started.stderr
    assert "evolve stop run" in started.stderr
    watched = evolve("status", "run", "--watch", "--json", cwd=tmp_path)
    assert watched.returncode == 0
    assert json.loads(evolve("status", "run", "--json", cwd=tmp_path).stdout)["state"] == "finished"
    assert "generation 1 of 1" in (tmp_path / "run/run.log").read_text()


def test_a_detached_run_that_cannot_start_prints_why(evolve, tmp_path):
    copy_seed(tmp_path / "seed")
    refused = evolve("run", "seed", "--llm", "gpt-5", "--out", "run", "--detach", cwd=tmp_path)
    assert refused.returncode == 2
    assert "names no provider" in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["seed"]


def test_doctor_proves_what_it_reports(evolve, tmp_path):
    facts = json.loads(evolve("doctor", "--json", cwd=tmp_path).stdout)
    assert {"isolation", "devices", "git", "llm", "disk"} <= set(facts)
    assert set(facts["isolation"]) >= {"level", "layers", "canaries"}
    asked = json.loads(evolve("doctor", "--llm", "offline", "--json", cwd=tmp_path).stdout)
    assert asked["llm"]["reachable"] is True


def test_doctor_names_the_data_sets_in_the_cache_with_their_sizes(evolve, tmp_path):
    folder = load("digits", tmp_path / "cache").folder
    disk = json.loads(evolve("doctor", "--json", cwd=tmp_path, env={"EVOLVE_CACHE": str(tmp_path / "cache")}).stdout)["disk"]
    assert disk["data_sets"] == {folder.name: "0.1 MiB"}


BROKEN = {
    "syntax": ("def build_model(:\n", None, "model.py is not valid Python: line 1"),
    "no blocks": ("print(1)\n", None, "has no blocks"),
    "constants alone": ("x = 1\n", None, "build_model"),
    "missing entry": ("def build(num_classes, in_channels):\n    return None\n", None, "build_model"),
    "does not train": ("def build_model(num_classes, in_channels):\n    raise ValueError('no')\n", None, "ValueError: no"),
    "unknown key": (None, "[serch]\ngenerations = 3\n", "unknown key serch"),
    "bad toml": (None, "[seed\n", "not valid TOML"),
    "wrong objective": (None, "[objectives]\naccuracy = 'max'\nbeauty = 'max'\n", "objectives.beauty"),
    "wrong direction": (None, "[objectives]\naccuracy = 'up'\nparameters = 'min'\n", "objectives.accuracy"),
    "one objective": (None, "[objectives]\naccuracy = 'max'\n", "at least two"),
    "missing data set": (None, "[task]\ndataset = 'no-such-set'\n", "no data set 'no-such-set'"),
    "unknown task": (None, "[task]\nname = 'knitting'\n", "no task 'knitting'"),
    "bad constraint": (None, "[constraints]\nparameters = 'few'\n", "constraints.parameters"),
    "bad budget": (None, "[budget]\nepochs = 'many'\n", "budget.epochs"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_of_the_user_is_one_sentence_and_nothing_is_written(evolve, tmp_path, case):
    model, config, message = BROKEN[case]
    seed = tmp_path / "seed"
    copy_seed(seed)
    if model:
        (seed / "model.py").write_text(model)
        if "build_model" not in model:
            (seed / "seed.toml").write_text((seed / "seed.toml").read_text().replace('["build_model"]', "[]"))
    if "build_model(" in (model or ""):
        (seed / "seed.toml").write_text((seed / "seed.toml").read_text().replace('["build_model"]', "[]"))
    extra = []
    if config:
        (tmp_path / "extra.toml").write_text(config)
        extra = ["--config", "extra.toml"]
    refused_without_a_trace(evolve, tmp_path, ["seed", "--llm", "offline", "--out", "run", *extra], message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny_cnn", "--out", "run"], "--llm offline"),
        (["tiny_cnn", "--out", "run", "--llm", "gpt-5"], "names no provider"),
        (["tiny_cnn", "--out", "run", "--llm", "openai/gpt-5"], "OPENAI_API_KEY"),
        (["tiny_cnn", "--out", "run", "--llm", "anthropic/claude-sonnet-4-5"], "ANTHROPIC_API_KEY"),
        (["tiny_cnn", "--out", "run", "--llm", "nobody/knows"], "names no provider"),
        (["no/such/seed", "--out", "run", "--llm", "offline"], "no/such/seed"),
        (["tiny_cnn", "--out", "taken", "--llm", "offline"], "exists already"),
        (["tiny_cnn", "--out", "run", "--llm", "offline", "--set", "generations"], "key=value"),
        (["tiny_cnn", "--out", "run", "--llm", "offline", "--set", "search.p_mate=2"], "from 0 to 1"),
        (["tiny_cnn", "--out", "a..b", "--llm", "offline"], "branch name"),
        (["tiny_cnn", "--out", "run", "--llm", "offline", "--config", "none.toml"], "none.toml"),
        (["tiny_cnn", "--out", "run", "--llm", "offline", "--generations", "few"], "--generations"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_nothing_is_written(evolve, tmp_path, arguments, message):
    (tmp_path / "taken").mkdir()
    copy_seed(tmp_path / "tiny_cnn")
    refused_without_a_trace(evolve, tmp_path, arguments, message)


def refused_without_a_trace(evolve, folder, arguments, message):
    before = sorted(folder.rglob("*"))
    refused = evolve("run", *arguments, cwd=folder)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    output = [line for line in refused.stderr.splitlines() if line.startswith("Error")]
    assert len(output) == 1
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""
    assert [p for p in sorted(folder.rglob("*")) if "__pycache__" not in p.parts] == before


@pytest.mark.parametrize("command", [["status"], ["resume"], ["show"], ["diff"]])
def test_a_folder_without_a_run_is_refused_in_one_sentence(evolve, tmp_path, command):
    extra = ["0001"] if command == ["diff"] else []
    refused = evolve(*command, tmp_path, *extra)
    assert refused.returncode == 2
    assert "holds no run" in refused.stderr
