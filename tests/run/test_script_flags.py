"""`--command`, `--metric` and `--source`: any project as a run, its metric marked wherever it is shown."""

import json
import subprocess

import pytest

from agent.core.errors import UserError
from agent.run.config_sources import load
from agent.run.script_flags import folder_and_files, with_script

NETS = """\
from torch import nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.hidden = nn.Linear(2, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(self.hidden(x).clamp(min=0)).squeeze(1)
"""
TRAIN = """\
import sys
import torch
from lib.nets import Net


def fit(x, y, steps):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, float(loss)


if __name__ == "__main__":
    x = torch.rand(200, 2)
    model, loss = fit(x, x.prod(1), int(sys.argv[1]))
    print(f"val_loss: {loss:.6f}")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anybody") / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/nets.py").write_text(NETS)
    (folder / "train.py").write_text(TRAIN)
    (folder / "silent.py").write_text("def work():\n    pass\n\n\nwork()\n")
    return folder


@pytest.fixture(scope="module")
def finished(evolve, project):
    command = ("--command", "python train.py 30", "--metric", "val_loss:min", "--source", "lib/nets.py")
    options = ("--set", "search.first_population=3", "--set", "noise.trainings=0", "--generations", "1", "--population", "2")
    done = evolve("run", "train.py", *command, "--llm", "offline", "--out", "../run", *options, "--seed", "3", cwd=project)
    assert done.returncode == 0, done.stderr
    run = project.parent / "run"
    facts = json.loads(evolve("status", run, "--json").stdout)
    return run, done, facts, json.loads(evolve("show", run, "--json").stdout)


def test_a_script_of_two_files_evolves_and_its_folder_stays_as_it_is(finished, project):
    _, _, facts, listed = finished
    assert facts["state"] == "finished"
    assert facts["objectives"] == {"val_loss": "min", "train_time": "min"}
    assert facts["counts"]["trained"] >= 1
    assert {one["block"] for one in listed} & {"lib/nets.py:Net", "train.py:fit"}
    assert sorted(path.name for path in project.rglob("*")) == ["lib", "nets.py", "silent.py", "train.py"]
    assert (project / "train.py").read_text() == TRAIN


def test_a_self_reported_metric_is_marked_wherever_it_is_shown(evolve, finished):
    run, done, facts, listed = finished
    reason = "printed by the script itself, which evolves: nothing outside has checked it"
    sentence = f"val_loss is self-reported: {reason}"
    assert sentence in done.stderr
    assert sentence in done.stdout
    assert facts["self_reported"] == {"val_loss": reason}
    trained = next(one["id"] for one in listed if one["outcome"] == "trained")
    shown = evolve("show", run, trained).stdout
    assert f"self-reported: {reason}" in shown
    assert f"val_loss: less is better (self-reported: {reason})" in shown  # in its prompt
    for page in ("report.html", "report.md"):
        assert sentence in (run / page).read_text()
    git = ["git", f"--git-dir={run / 'lineage.git'}", "log", "-1", "--format=%B", f"evolve/run/{trained}"]
    message = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    assert f"{sentence}." in message
    assert "\nSelf-reported: val_loss\n" in message


def test_a_script_that_measures_nothing_ends_the_run_before_a_model_is_asked(evolve, project):
    command = ("--command", "python silent.py", "--metric", "val_loss:min")
    done = evolve("run", "silent.py", *command, "--llm", "offline", "--out", "../never", cwd=project)
    assert done.returncode == 1  # it had to be run to see that
    assert "It printed no metric val_loss: a line such as `val_loss: 0.123` is expected" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "metrics", "printed"),
    [
        (None, ["loss:min"], "say with --command"),
        ("python train.py", [], "needs at least one --metric NAME:min or NAME:max"),
        ("python train.py", ["loss"], "--metric 'loss' must have the form NAME:min"),
        ("python train.py", ["loss:down"], "--metric 'loss:down' must have the form"),
        ("python train.py", [":min"], "--metric ':min' must have the form"),
    ],
)
def test_incomplete_flags_are_refused(command, metrics, printed):
    with pytest.raises(UserError, match=printed):
        with_script({}, command, metrics)


def test_flags_become_tables():
    assert with_script({"run": {"seed": 1}}, None, ()) == {"run": {"seed": 1}}
    both = with_script({}, "python train.py", ["loss:min", "acc:max"])
    assert both["objectives"] == {"loss": "min", "acc": "max"}
    assert both["task"] == {"name": "script", "command": "python train.py", "metrics": {"loss": "min", "acc": "max"}}


def test_the_project_is_where_the_command_is_meant_from(project, monkeypatch):
    monkeypatch.chdir(project)
    assert folder_and_files("train.py", "python train.py", ()) == (project, ["train.py"])
    assert folder_and_files("lib/nets.py", "python train.py", ()) == (project, ["lib/nets.py"])
    assert folder_and_files("lib/nets.py", "python nets.py", ()) == (project / "lib", ["nets.py"])
    assert folder_and_files(".", None, ["train.py", "lib/nets.py"])[1] == ["train.py", "lib/nets.py"]
    assert folder_and_files(".", None, ()) is None
    monkeypatch.chdir(project.parent)
    folder, files = folder_and_files("project/train.py", "python train.py", ["lib/nets.py", "project/silent.py"])
    assert (folder.resolve(), files) == (project, ["train.py", "lib/nets.py", "silent.py"])
    for seed, command, sources, printed in (
        ("project/train.py", "python other.py", (), "there is no other.py in project or above it"),
        ("project/train.py", "make train", (), "the sandbox runs Python"),
        ("project/train.py", None, ("lib/none.py",), "--source lib/none.py: there is no such file"),
        ("elsewhere", None, ("train.py",), "There is no folder elsewhere"),
        ("elsewhere.py", None, (), "There is no file elsewhere.py"),
    ):
        with pytest.raises(UserError, match=printed):
            folder_and_files(seed, command, sources)


def test_another_task_replaces_that_of_the_seed(tmp_path):
    (tmp_path / "model.py").write_text("def f():\n    pass\n")
    (tmp_path / "seed.toml").write_text('[task]\ndataset = "digits"\n[objectives]\naccuracy = "max"\nparameters = "min"\n')
    flags = with_script({}, "python model.py", ["loss:min"])
    config = load(str(tmp_path), None, flags, ())
    assert config.task == {"name": "script", "command": "python model.py", "metrics": {"loss": "min"}}
    assert config.objectives == {"loss": "min", "train_time": "min"}
    assert load(str(tmp_path), None, {"task": {"name": "image-classification"}}, ()).task["dataset"] == "digits"
