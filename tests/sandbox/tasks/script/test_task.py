"""Scripts as tasks: allowed commands, their environment, and how their metrics are read."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from sandbox import TaskError
from sandbox.launch.client import ForkServerSandbox
from sandbox.launch.detect import detect
from sandbox.tasks import open_task, self_reported
from sandbox.tasks.common.job import Job, Measured, StageFailed, StageFailure
from sandbox.tasks.script import metrics
from sandbox.tasks.script.command import ScriptCommand

SCRIPT = "print('loss: 0.5')\n"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def open_script(project, cache):
    """Opens a script task on the project; `[task]` as keywords, `[budget]` in `budget`."""

    def open_it(command="python train.py", names=("loss",), budget=None, files=("train.py",), **table):
        if not (project / "train.py").exists():
            (project / "train.py").write_text(SCRIPT)
        task = {"name": "script", "command": command, "metrics": dict.fromkeys(names, "min"), **table}
        return open_task(task, {"time_limit": "60s", **(budget or {})}, {}, files, cache, folder=project)

    return open_it


@pytest.fixture
def run(open_script, warm):
    """Runs one script text as a candidate would be."""

    def run_it(text=SCRIPT, seed=0, others=None, sandbox=None, **options):
        sources = {"train.py": text, **(others or {})}
        task = open_script(files=tuple(sources), **options)
        return task.evaluate(Job(sources, seed), sandbox or warm)

    return run_it


def test_the_last_metric_line_counts_and_time_and_memory_are_measured_outside(run):
    text = "for i in range(3):\n    print(f'epoch {i} loss={1 / (i + 1):.3f} val: 7')\nprint('acc = 93.5%')"
    measured = run(text, names=("loss", "acc"))
    assert isinstance(measured, Measured), measured
    assert (measured.values["loss"], measured.values["acc"]) == (0.333, 93.5)
    assert measured.values["train_time"] >= 1
    assert 0 < measured.values["memory"] < 4096


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("val_loss: 0.25", 0.25),
        ("val_loss=1e-3", 0.001),
        ("epoch 3: train_loss=9, val_loss = -.5.", -0.5),
        ("val_loss: 518,230", 518230),
        ("val_loss: 0.1\nbest was val_loss: 0.3\nnot_val_loss: 7 xval_loss: 8 a.val_loss: 9", 0.3),
        ("val_loss: +2, 345", 2),
    ],
)
def test_metric_lines_are_read(line, value):
    assert metrics.read(f"begin\n{line}\nend\n", ["val_loss"]) == {"val_loss": value}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "It printed no metric val_loss: a line such as `val_loss: 0.123` is expected"),
        ("val_loss: pending", "no number for the metric val_loss.*nearest line is `val_loss: pending"),
        ("val_loss: 0.1\nval_loss: nan", "last value that it printed for val_loss is nan"),
        ("val_loss: 0.1\nval_loss: -Infinity", "is -Infinity, which is no finite number"),
        ("val_loss: 1e999", "is 1e999, which is no finite number"),
        ("val_loss: 5e", "no number"),
    ],
)
def test_metrics_that_cannot_be_used_are_named(line, message):
    with pytest.raises(StageFailed, match=message):
        metrics.read(line, ["val_loss"])


def test_a_metric_printed_a_hundred_thousand_times_costs_little_and_the_last_counts(run):
    measured = run("for i in range(100_000):\n    print('loss:', i)")
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 99_999


@pytest.mark.parametrize(
    ("text", "stage", "message"),
    [
        ("print('done')", "score", "It printed no metric loss"),
        ("print('loss: nan')", "score", "the last value that it printed for loss is nan"),
        ("import time\nprint('loss: 1', flush=True)\nwhile True: time.sleep(1)", "fit", "It ran longer than its limit of 2 s."),
        ("print('loss: 1')\nraise SystemExit(3)", "fit", "the program ended itself with 3"),
        ("def f():\n    return {}['x']\nf()", "fit", "KeyError: 'x' (train.py, line 2, in f)."),
        ("import os\nos.execv('/bin/true', ['true'])", "fit", "It starts a program (os.execv, train.py, line 2"),
        ("import subprocess\nsubprocess.run(['true'])", "fit", "It starts a program (subprocess.run, train.py, line 2"),
        ("open('/etc/passwd').read()", "fit", "It uses a file outside of its copy of the project (open, train.py, line 1"),
    ],
    ids=["no metric", "NaN", "too long", "exit code", "error", "exec", "processes", "files of others"],
)
def test_a_script_that_does_not_do_its_work_is_a_failure_with_its_stage(run, text, stage, message):
    stopped = run(text, budget={"time_limit": "2s" if "while True" in text else "60s"})
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == stage
    assert message.lower() in stopped.reason.lower()
    assert len(stopped.log) <= 16_000


def test_a_script_finds_its_project_and_leaves_the_real_one_alone(run, project):
    (project / "data").mkdir()
    (project / "data/numbers.txt").write_text("1 2 3")
    (project / "sandbox.py").write_text("WORD = 'their own module'")
    (project / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (project / ".env").write_text("KEY=secret")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    text = """
import os, sys
from pathlib import Path
import sandbox
from helper import double
from pkg.part import Part
assert __name__ == "__main__" and sys.argv[1:] == ["--rate", "0.5"], sys.argv
assert Path(__file__).parent == Path.cwd(), __file__
assert not os.path.exists(".env")
Path("data/numbers.txt").write_text("9")
Path("new.txt").write_text("9")
print(sandbox.WORD, "loss:", double(Part.value))
"""
    measured = run(text, others={"pkg/part.py": "class Part:\n    value = 4\n"}, command="python3 train.py --rate 0.5")
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 8
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.name != "train.py"}
    assert {path: data for path, data in before.items() if path.name != "train.py"} == after


def test_a_script_finds_its_own_packages_with_the_names_of_ours(run, project):
    for name in ("agent", "sandbox"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(f"from {name}.part import VALUE\n")
        (project / name / "part.py").write_text("VALUE = 2\n")
    measured = run("import agent, sandbox.part\nprint('loss:', agent.VALUE + sandbox.part.VALUE)")
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 4


def test_a_module_is_run_as_python_does(run, project):
    (project / "pkg").mkdir()
    (project / "pkg/go.py").write_text("from pkg import b\nprint(__name__, 'loss:', b.X)")
    measured = run("", others={"pkg/b.py": "X = 3"}, command="python -u -m pkg.go")
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 3


def test_chance_is_seeded_and_loaders_work_without_processes(run):
    text = """
import os, random, numpy, torch
from torch.utils.data import DataLoader
batches = list(DataLoader(torch.arange(6.0), 3, num_workers=2, persistent_workers=True, prefetch_factor=4))
assert len(batches) == 2
print("loss:", random.random() + numpy.random.rand() + float(torch.rand(1)), "seed:", os.environ["EVOLVE_SEED"])
"""
    values = [run(text, seed=seed, names=("loss", "seed")).values for seed in (3, 3, 4)]
    assert [v["seed"] for v in values] == [3, 3, 4]
    assert values[0]["loss"] == values[1]["loss"] != values[2]["loss"]


@pytest.mark.parametrize("level", ["contained", pytest.param("full", marks=pytest.mark.slow)])
def test_data_can_be_read_where_they_are_and_not_written(run, project, sandbox, level):
    (project / "big").mkdir()
    (project / "big/x.bin").write_bytes(bytes(1000))
    text = """
import os
from pathlib import Path
assert len(Path("big/x.bin").read_bytes()) == 1000 and os.path.islink("big")
try:
    Path("big/y.bin").write_bytes(b"1")
except OSError:
    print("loss: 1")
"""
    measured = run(text, readable=["big"], copy="1MiB", sandbox=sandbox(level) if level == "full" else None)
    assert isinstance(measured, Measured), measured
    assert os.listdir(project / "big") == ["x.bin"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python nothere.py", "there is no nothere.py in "),
        ("python -m nothere", r"there is no nothere.py or nothere/__main__.py in "),
        ("python ../other.py", "there is no ../other.py in "),
        ("torchrun train.py", "the sandbox runs Python and starts no other program"),
        ("", "the sandbox runs Python"),
        ("python", "names no file"),
        ("python -c 'print(1)'", "names no file"),
        ("python train.py | tail -1", "needs a shell"),
        ("python 'train.py", "cannot be read: No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(open_script, project, command, message):
    (project.parent / "other.py").write_text(SCRIPT)
    with pytest.raises(TaskError, match=message):
        open_script(command)


def test_commands_are_parsed():
    assert ScriptCommand.parse("python3.11 -u a/b.py --x 'two words'") == ScriptCommand("a/b.py", False, ("--x", "two words"))
    assert ScriptCommand.parse("/usr/bin/python -m a.b -v") == ScriptCommand("a.b", True, ("-v",))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"metrics": {}}, "task.metrics is missing"),
        ({"metrics": {"loss": "less"}}, "task.metrics is missing"),
        ({"metrics": {"memory": "min"}}, "memory is measured in any case"),
        ({"command": None}, "task.command is missing"),
        ({"dataset": "digits"}, "unknown key dataset"),
        ({"copy": "much"}, 'task.copy = "much" must be a number with a unit'),
        ({"readable": "data"}, "task.readable must be a list"),
        ({"readable": ["data"]}, "there is no .*data"),
        ({"readable": ["../elsewhere"]}, "there is no .*elsewhere"),
        ({"readable": ["/"]}, "holds your home folder or the whole project"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(open_script, table, message):
    with pytest.raises(TaskError, match=message):
        open_script(**table)


def test_a_folder_that_is_huge_is_refused_with_what_is_large_in_it(open_script, project):
    (project / "data").mkdir()
    with open(project / "data/huge.bin", "wb") as file:
        file.truncate(200 << 20)  # a hole: it takes no room here
    message = r"too large to be copied for every run: more than 64 MiB.*most in: data 200\.0 MiB.*leave_out"
    with pytest.raises(TaskError, match=message):
        open_script()
    assert open_script(leave_out=["data"]).pins
    for number in range(2100):
        (project / f"{number}.txt").touch()
    with pytest.raises(TaskError, match=r"or 2,000 files"):
        open_script(leave_out=["data"])
    assert open_script(leave_out=["data", "*.txt"]).pins


def test_a_resumed_run_finds_the_project_that_it_started_with(open_script, project, cache):
    (project / "note.txt").write_text("one")
    started = open_script()
    (project / "note.txt").write_text("two")
    assert open_script(**started.pins).provenance == started.provenance
    assert open_script().provenance != started.provenance
    (cache / f"project-{started.pins['snapshot'][:32]}.tar").unlink()
    assert open_script(**started.pins).provenance != started.provenance
    (project / "note.txt").write_text("one")
    assert open_script(**started.pins).provenance == started.provenance


def test_a_metric_is_marked_as_self_reported(open_script):
    table = {"name": "script", "metrics": {"loss": "min"}}
    assert self_reported(table) == {"loss": "printed by the script itself, which evolves: nothing outside has checked it"}
    assert self_reported({"name": "task.py"}) == self_reported({}) == {}
    assert self_reported({}, ("accuracy", "parameters")) == self_reported({"name": "task.py"}, ("flops",)) == {}
    assert "counted in the process of the program itself" in self_reported({}, ("accuracy", "flops"))["flops"]
    task = open_script()
    assert task.directions == {"loss": "min", "train_time": "min"}
    assert open_script(names=("loss", "size")).directions == {"loss": "min", "size": "min"}
    assert "self-reported (printed by the script itself" in task.facts()["Metric"]


def test_links_and_hidden_names_stay_out_of_the_copy(run, project, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")
    (project / "folder").symlink_to(tmp_path)
    (project / "venv").mkdir()
    (project / "venv/pyvenv.cfg").touch()
    (project / ".git").mkdir()
    (project / "server.key").write_text("secret")
    measured = run("import os\nprint(sorted(os.listdir('.')))\nprint('loss:', len(os.listdir('.')))")
    assert isinstance(measured, Measured), measured
    assert measured.values["loss"] == 1
    assert Path(project / "server.key").exists()


@pytest.mark.parametrize("level", ["contained", "full"])
def test_data_sets_in_installed_packages_are_open_to_a_script(open_script, level):
    """Nothing that a script reads is secret, unlike the labels of the other tasks."""
    found = detect()
    if level not in (found.level, "contained") or found.level not in ("full", "contained"):
        pytest.skip(f"this machine offers {found.level}")
    text = (
        "from sklearn.datasets import load_iris, make_moons\nx, y = make_moons(40, random_state=0)\n"
        "print('loss:', len(y) + len(load_iris().target))"
    )
    with closing(ForkServerSandbox(level)) as sandbox:
        measured = open_script().evaluate(Job({"train.py": text}, 0), sandbox)
    assert isinstance(measured, Measured) and measured.values["loss"] == 190, measured
