"""`evolve reproduce`: real programs of a real run are trained again, and what differs is named."""

import hashlib
import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from agent.core.noise import Noise
from agent.journal.store import Journal
from agent.run.recorded import recorded_program
from agent.run.reproduction import compare
from tests.benchmarks.kill import copy_fast_seed
from tests.cli.test_confirm import rows

pytestmark = pytest.mark.slow  # whole runs, some of them trained again

MODEL = '''\
import re, sys
prompt = sys.stdin.read()
name = re.search(r"Block to rewrite: `(\\w+)`", prompt)[1]
source = prompt.split("Block to rewrite: `")[1].split("```python\\n")[1].split("\\n```")[0]
old, new = {"Stage": ("return F", "raise ValueError('broken on purpose')\\n        return F"),
            "TinyCNN": ("width=16", "width=12"), "build_optimizer": ("lr=0.005", "lr=0.004"), "scale": ("2", "3")}[name]
print(f"Intention: {new}.\\n\\n```python\\n{source.replace(old, new)}\\n```")
'''
"""A program that answers: what it makes of `Stage` fails."""
SETTINGS = ("search.first_population=4", "search.generations=0", "llm.repairs=0", "llm.redraws=0", "noise.trainings=2",
            "budget.steps=12", "constraints.accuracy=>= 0",
            "search.first_operator=mutate", "search.operators={mutate = 1.0}")  # fmt: skip


@pytest.fixture(scope="module")
def finished(evolve, tmp_path_factory):
    place = tmp_path_factory.mktemp("reproduce")
    copy_fast_seed(place)
    (place / "model.py").write_text(MODEL)
    for command in (["init", "-q"], ["add", "seed"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "seed"]):
        subprocess.run(["git", *command], cwd=place, check=True)
    command = f"cmd:{shlex.join([sys.executable, str(place / 'model.py')])}"
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    done = evolve("run", "seed", "--llm", command, "--out", "run", "--slots", "1", *sets, cwd=place)
    assert done.returncode == 0, done.stderr
    done = evolve("confirm", "run", "--trainings", "2", "--members", "1", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def reproduce(evolve, run):
    """(exit code, facts) of the command."""

    def call(*arguments):
        done = evolve("reproduce", run, *arguments, "--json")
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return call


def ids(run):
    """Outcome or stage -> ids."""
    found = {}
    for _, key, data in rows(run, "settled"):
        found.setdefault(data.get("stage", data["outcome"]), []).append(key)
    return found


def change(run, kind, key, edit):
    with closing(sqlite3.connect(run / "journal.db")) as db:
        where = "kind = ? AND key LIKE ?"
        data = json.loads(db.execute(f"SELECT data FROM events WHERE {where}", [kind, key]).fetchone()[0])
        edit(data)
        db.execute(f"UPDATE events SET data = ? WHERE {where}", [json.dumps(data), kind, key])
        db.commit()


def test_a_candidate_is_the_same_bit_by_bit_and_the_run_is_not_changed(run, reproduce, evolve):
    (first, *_) = ids(run)["trained"]
    before = hashlib.sha256((run / "journal.db").read_bytes()).hexdigest()
    code, facts = reproduce(first.lstrip("0"))
    (one,) = facts["readings"]
    assert (code, facts["id"], facts["reproduced"], one["promise"], one["word"]) == (0, first, True, "bits", "equal")
    assert one["then"]["values"] == one["now"]["values"] and one["curve"] == "equal" and one["differences"] == []
    assert facts["source"]["in_git"] is True
    assert hashlib.sha256((run / "journal.db").read_bytes()).hexdigest() == before
    shown = evolve("reproduce", run, first)
    assert f"{first} is reproduced: the same values, bit by bit." in shown.stdout and "every bit" in shown.stdout


def test_a_candidate_that_failed_fails_at_the_same_stage(run, reproduce, evolve):
    (broken,) = ids(run)["smoke"]
    code, facts = reproduce(broken)
    (one,) = facts["readings"]
    assert (code, one["then"]["stage"], one["now"]["stage"], one["word"]) == (0, "smoke", "smoke", "equal")
    assert "broken on purpose" in one["now"]["reason"]
    change(run, "settled", broken, lambda data: data.update(stage="fit"))
    shown = evolve("reproduce", run, broken)
    assert shown.returncode == 1 and f"{broken} is not reproduced." in shown.stdout
    assert "then stopped at fit" in shown.stdout and "now stopped at smoke" in shown.stdout


def test_the_seed_and_a_confirmed_member_have_several_readings(run, reproduce):
    code, facts = reproduce("seed", "--all")
    assert code == 0 and [one["origin"] for one in facts["readings"]] == ["search", *["noise"] * 2, *["confirmation"] * 2]
    member = next(id for id in rows(run, "shortlist")[0][2]["members"] if id.isdigit())
    code, facts = reproduce(member, "--all")
    assert code == 0 and [one["origin"] for one in facts["readings"]] == ["search", "confirmation", "confirmation"]
    assert len({one["training_seed"] for one in facts["readings"]}) == 3
    assert {one["word"] for one in facts["readings"]} == {"equal"} and "test" not in json.dumps(facts)
    code, facts = reproduce("null-1")
    assert code == 0 and facts["readings"][0]["origin"] == "confirmation"


def test_where_bits_are_promised_less_is_not_enough(run, reproduce, evolve):
    (first, *_) = ids(run)["trained"]
    change(run, "settled", first, lambda data: data["fitness"].update(accuracy=data["fitness"]["accuracy"] + 1e-9))
    code, facts = reproduce(first)
    assert (code, facts["readings"][0]["word"]) == (1, "differs")
    assert "accuracy" in (shown := evolve("reproduce", run, first)).stdout and "DIFFERS" in shown.stdout

    def other_torch(data):
        data["basis"]["version of torch"] = "1.0"
        data["machine"]["processor"] = "Z80"
        data["basis"]["prompts/mutate.md"] = data["basis"]["agent/run/loop.py"] = "other"

    change(run, "started", "%", other_torch)
    with closing(sqlite3.connect(run / "journal.db")) as db:  # of both processes
        assert db.execute("SELECT count(*) FROM events WHERE kind = 'started' AND data LIKE '%\"1.0\"%'").fetchone()[0] == 2
    code, facts = reproduce(first)
    (one,) = facts["readings"]
    assert (code, one["promise"], one["word"]) == (0, "noise", "within noise")
    named = {found["what"]: (found["then"], found["matters"]) for found in one["differences"]}
    assert named == {
        "processor": ("Z80", True),
        "this program's agent/": ("as it was", False),
        "this program's prompts/": ("as it was", False),
        "version of torch": ("1.0", True),
    }
    shown = evolve("reproduce", run, first).stdout
    assert "within the noise" in shown and "not as it was: version of torch: 1.0 -> " in shown

    change(run, "settled", first, lambda data: data["fitness"].update(accuracy=data["fitness"]["accuracy"] + 9))
    assert reproduce(first)[0] == 1


def test_a_commit_that_holds_another_program_is_named(run, finished, evolve):
    (first, second, *_) = ids(run)["trained"]
    commits = {key: data["commit"] for _, key, data in rows(run, "committed")}
    change(run, "committed", first, lambda data: data.update(commit=commits[second]))
    assert "NOT THE SAME AS IN ITS COMMIT" in evolve("reproduce", run, first).stdout


def test_what_was_never_trained_is_the_users_mistake(run, evolve):
    (twin,) = ids(run)["duplicate"]
    for id, words in (("0099", "no candidate 0099"), (twin, "is the same program as")):
        done = evolve("reproduce", run, id)
        assert done.returncode == 2 and words in done.stderr and not done.stdout
    change(run, "settled", twin, lambda data: data.update(outcome="failed", stage="contract", reason="x", log=""))
    done = evolve("reproduce", run, twin)
    assert done.returncode == 2 and "never trained: it stopped at contract" in done.stderr


def test_further_trainings_of_an_elite_are_readings_too(run):
    (first, *_) = ids(run)["trained"]
    data = {"fitness": {"accuracy": 0.5, "parameters": 3000.0}, "reason": "", "seconds": 1.0, "gpus": 0.0}
    with closing(sqlite3.connect(run / "journal.db")) as db:
        values = [0.0, "reading", f"{first}/1", json.dumps(data)]
        db.execute("INSERT INTO events (time, kind, key, data) VALUES (?, ?, ?, ?)", values)
        db.commit()
    with closing(Journal(run / "journal.db", read_only=True)) as journal:
        found = recorded_program(journal, first)
    (one,) = [reading for reading in found.readings if reading.origin == "elite"]
    assert (one.training_seed, one.values) == (1, data["fitness"])
    assert found.readings[0].origin == "search" and found.readings[0].training_seed == 0


NOISE = Noise({"accuracy": 0.01, "parameters": 0.0, "latency": 0.5}, {"accuracy": 0.9, "parameters": 100.0, "latency": 3.0})


@pytest.mark.parametrize(
    ("name", "change_", "promise", "noise", "word"),
    [
        ("accuracy", 0.0, "bits", None, "equal"),
        ("accuracy", 1e-12, "bits", NOISE, "differs"),
        ("accuracy", 0.01, "noise", NOISE, "within noise"),
        ("accuracy", -0.01, "noise", NOISE, "within noise"),
        ("accuracy", 0.1, "noise", NOISE, "differs"),
        ("accuracy", 0.01, "noise", None, "unknown"),
        ("parameters", 1.0, "noise", NOISE, "differs"),
        ("latency", 0.5, "bits", NOISE, "within noise"),
        ("latency", 9.0, "bits", NOISE, "differs"),
        ("latency", 9.0, "bits", None, "timed"),
        ("train_time", 9.0, "noise", None, "timed"),
    ],
)
def test_the_word_for_one_objective(name, change_, promise, noise, word):
    assert compare({name: 1.0}, {name: 1.0 + change_}, promise, noise) == {name: word}
