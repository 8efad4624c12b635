"""Tasks of one's own: the template, the contract that authors try on theirs, and a run from end to end."""

import json
import shutil
import sqlite3
import tomllib
from pathlib import Path

import pytest

from agent.cli import new_task
from agent.core.errors import UserError
from agent.run.components import completed
from agent.run.config import Config
from sandbox.isolation import landlock
from sandbox.launch.client import ForkServerSandbox
from sandbox.tasks import open_task
from sandbox.tasks.own.check import checks

ROOT = Path(__file__).resolve().parents[2]
SEED = ROOT / "seeds/own_task"


@pytest.fixture(scope="module")
def sandbox():
    started = ForkServerSandbox("contained" if landlock.abi() else "none")
    yield started
    started.close()


@pytest.mark.slow
def test_the_template_is_written_passes_its_check_and_is_left_alone(evolve, tmp_path):
    wrote = evolve("new-task", "mine", cwd=tmp_path)
    assert wrote.returncode == 0, wrote.stderr
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "model.py", "seed.toml", "task.py"]
    assert "evolve check-task mine" in wrote.stdout
    checked = evolve("check-task", "mine", "--json", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout
    shown = json.loads(checked.stdout)
    assert len(shown) == 9
    assert all(check["passed"] for check in shown)
    with pytest.raises(UserError, match="is there already"):
        new_task.create(tmp_path / "mine")


def test_a_seed_without_a_task_file_has_nothing_to_check():
    with pytest.raises(UserError, match="has the task 'image-classification'; a task of its own is a file"):
        new_task.check(str(ROOT / "seeds/tiny_cnn"))


def test_objectives_are_those_of_the_task_file_unless_others_are_named(cache):
    table = tomllib.loads((SEED / "seed.toml").read_text())
    task = open_task(table["task"], table["budget"], {}, ("model.py",), cache, folder=SEED)
    assert completed(Config(), task).objectives == {"rmse": "min", "parameters": "min"}
    named = {"rmse": "min", "train_time": "min"}
    assert completed(Config(objectives=named), task).objectives == named
    for wrong, shown in (
        ({"objectives": {"rmse": "max", "parameters": "min"}}, 'objectives.rmse = "max": the task itself says "min"'),
        ({"objectives": {"rmse": "min", "accuracy": "max"}}, "objectives.accuracy: this task measures rmse, parameters"),
        ({"constraints": {"latency": "<= 3"}}, "constraints.latency: this task measures rmse, parameters"),
    ):
        with pytest.raises(UserError, match=shown):
            completed(Config(**wrong), task)


EVALUATED = "the seed trains, predicts each row by itself and is scored"
BREACHES = {
    "no score": ("def score(", "def scored(", "the file is complete and its data well-formed", "has no function score"),
    "data by chance": ("default_rng(0)", "default_rng()", "data() returns the same values each time", "fix the seed"),
    "shared rows": (
        "np.split(order, [88, 176])",
        "order[:88], order[40:176], order[176:]",
        "no row is in two splits",
        "of validation are in test",
    ),
    "targets as inputs": (
        "(inputs[test], targets[test])",
        "(targets[test], targets[test])",
        "targets are no inputs",
        "are the targets themselves",
    ),
    "training by chance": (
        "for _ in range(budget.epochs):",
        "import os\n    for _ in range(1 + os.urandom(1)[0]):",
        "the same training seed gives the same score",
        "rmse",
    ),
    "a call of data": ("    import torch\n\n    inputs, targets", "    data()\n    import torch\n\n    inputs, targets",
                       "data() and score() stay outside", "uses data()"),
    "a deaf score": ("(predictions - targets) ** 2", "targets**2", "predictions that know nothing score otherwise", "the seed:"),
    "the batch's mean": ("(inputs).to(scale.device)", "(inputs - inputs.mean(0)).to(scale.device)", EVALUATED, "integrity"),
    "NaN": ("rmse\": float(", "rmse\": float('nan') * float(", EVALUATED, "returned nan for rmse"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "name", "shown"), BREACHES.values(), ids=BREACHES)
def test_each_breach_of_the_contract_is_found(cache, sandbox, tmp_path, old, new, name, shown):
    folder = tmp_path / "seed"
    shutil.copytree(SEED, folder)
    text = (folder / "task.py").read_text()
    assert old in text
    (folder / "task.py").write_text(text.replace(old, new))
    sources = {"model.py": (folder / "model.py").read_text()}
    found = checks({"name": "task.py"}, {"epochs": 2, "batch_size": 64}, sources, cache, folder, sandbox)
    first = next(check for check in found if not check.passed)
    assert (first.name, shown in first.detail) == (name, True), first


@pytest.mark.slow
def test_the_language_model_evolves_and_its_task_is_part_of_the_record(evolve, tmp_path):
    seed = tmp_path / "char_lm"
    shutil.copytree(ROOT / "seeds/char_lm", seed, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--set", "budget.steps=4", "--set", "noise.trainings=0", "--variants", "1")
    done = evolve("run", seed, "--llm", "offline", *options, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(evolve("status", "run", "--json", cwd=tmp_path).stdout)
    assert facts["objectives"] == {"bits_per_byte": "min", "parameters": "min"}
    assert 3 < facts["seed"]["fitness"]["bits_per_byte"] < 7.1
    assert facts["seed"]["fitness"]["parameters"] == 58_304
    assert facts["counts"]["trained"] >= 1
    assert facts["self_reported"] == {}
    with sqlite3.connect(f"file:{tmp_path / 'run/journal.db'}?mode=ro", uri=True) as journal:
        ((started,),) = journal.execute("SELECT data FROM events WHERE kind = 'started'")
        ((prompt,), *_) = journal.execute("SELECT prompt FROM llm_calls")
    assert json.loads(started)["basis"]["seed/task.py"] == (seed / "task.py").read_text()
    assert "- Training: from scratch, by this part of `task.py`, which is fixed" in prompt
    (seed / "task.py").write_text((seed / "task.py").read_text().replace("2000", "1000"))
    resumed = evolve("resume", "run", cwd=tmp_path)
    assert resumed.returncode == 2
    assert "seed/task.py changed" in resumed.stderr


@pytest.mark.slow
def test_the_language_model_passes_the_check(evolve):
    done = evolve("check-task", "seeds/char_lm", timeout=600)
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout
