"""Programs as people have them, run as a user runs them: small ones of our own, and the cases of ../shared/cases."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.conftest import cases_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CASES = (cases_folder() or ROOT.parent / "shared/cases") / "programs"
SMALL = ["--slots", "1", "--set", "noise.trainings=0"]
SCRIPT = ["--command", "python train.py", "--metric", "val_loss:min"]


@pytest.fixture
def case(tmp_path):
    """A copy of a case's folder; skipped where the cases are absent."""

    def copy(name):
        if not CASES.is_dir():
            pytest.skip("the folder ../shared/cases/programs is absent")
        return shutil.copytree(CASES / name, tmp_path / name)

    return copy


@pytest.fixture
def evolve(tmp_path):
    """Runs `evolve run` in a folder; returns (exit code, output, run folder)."""

    def run(folder, *arguments, **environment):
        out = tmp_path / "run"
        paths = os.pathsep.join(filter(None, [str(ROOT), environment.pop("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "agent.cli", "run", *arguments, *SMALL, "--out", str(out)],
            cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ, **environment, "PYTHONPATH": paths},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr, out

    return run


def shown(out, *arguments):
    command = [sys.executable, "-m", "agent.cli", "show", str(out), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_source_that_the_script_cannot_find_is_refused_with_the_remedy(case, evolve):
    folder = case("editable")
    arguments = [".", "--source", "src/mypkg/net.py", "--command", "python scripts/train.py", "--metric", "val_loss:min"]
    code, output, out = evolve(folder, *arguments, "--llm", "offline")
    assert code == 2 and "task.pythonpath" in output and not out.exists()
    code, output, _ = evolve(folder, *arguments, "--llm", "offline", "--variants", "1", PYTHONPATH="src")
    assert "seed: val_loss 0.1099" in output


def test_an_installed_copy_is_refused(case, evolve, tmp_path):
    folder = case("editable")
    packages = tmp_path / "lib/site-packages"
    shutil.copytree(folder / "src/mypkg", packages / "mypkg")
    code, output, out = evolve(
        folder, ".", "--source", "src/mypkg/net.py", "--command", "python scripts/train.py", "--metric", "val_loss:min",
        "--llm", "offline", PYTHONPATH=str(packages),
    )  # fmt: skip
    assert code == 2 and "an installed copy that does not evolve" in output and not out.exists()


def test_sklearn_makes_data_in_a_script(case, evolve):
    _, output, _ = evolve(case("sklearn_datasets"), "train.py", *SCRIPT, "--llm", "offline", "--variants", "1")
    assert "seed: val_loss" in output and "ImportError" not in output


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pool", "It starts a process (Pool, pool.py, line 6"),
        ("subproc", "It starts a program (subprocess.run, subproc.py, line 6"),
        ("popen", "It starts a program (os.popen, popen.py, line 6"),
        ("compile", "It starts a compiler (torch.compile, compile.py, line 7"),
        ("chmod", "It changes the times or rights of a file (os.chmod, chmod.py, line 6"),
        ("copy2", "It changes the times or rights of a file (shutil.copy2, copy2.py, line 6"),
    ],
)
def test_refusals_of_the_sandbox_are_explained(case, evolve, name, says):
    command = ["--command", f"python {name}.py", "--metric", "val_loss:min"]
    code, output, _ = evolve(case("processes"), f"{name}.py", *command, "--llm", "offline", "--variants", "1")
    assert code == 1 and says in " ".join(output.split())


def test_changed_constants_are_named_in_line_show_and_commit(case, evolve):
    folder = case("constants_unnamed")
    code, output, out = evolve(
        folder, "train.py", *SCRIPT, "--llm", f"cmd:{folder}/answer.sh", "--variants", "2",
        "--set", "search.first_population=1", "--set", "search.operators={rewrite=1.0}",
    )  # fmt: skip
    assert code == 0 and "0001  rewrite lr: val_loss" in output
    assert "lr" in json.loads(shown(out, "--lessons", "--json"))[0]["blocks"]
    log = ["git", "-C", str(out / "lineage.git"), "log", "--branches", "--format=%B"]
    assert "Block: lr" in subprocess.run(log, capture_output=True, text=True, check=True).stdout


def test_a_change_below_the_main_guard_is_sent_back(case, evolve):
    folder = case("guard_dropped")
    _, output, _ = evolve(folder, "train.py", *SCRIPT, "--llm", f"cmd:{folder}/answer.sh", "--variants", "1")
    assert "is fixed: leave it out" in output


def test_what_only_a_registry_keeps_alive_is_not_drawn(case, evolve):
    arguments = ["--dataset", "digits", "--set", "budget.epochs=1", "--llm", "offline", "--variants", "8"]
    code, output, _ = evolve(case("registry_alive"), "model.py", *arguments)
    start, _, search = output.partition("training the seed")
    assert code == 0 and not any(name in search for name in ("Huge", "huge", "small_32"))
    assert "Huge, small_32, huge (only a registry holds it" in start


CONSTANTS = """\
import torch

learning_rate = 0.05
hidden = 8
STEPS = 20


def main():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate)
    x = torch.linspace(-1, 1, 64).repeat(4, 1).T
    for _ in range(STEPS):
        loss = (net(x) - x.sum(1, keepdim=True).sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("val_loss:", loss.item())


if __name__ == "__main__":
    main()
"""


def test_the_first_population_changes_constants_too(evolve, tmp_path):
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "train.py").write_text(CONSTANTS)
    first = ["--variants", "6", "--set", "search.first_population=6"]
    code, output, _ = evolve(folder, "train.py", *SCRIPT, "--llm", "offline", *first)
    assert code == 0
    assert any(f" {name} (" in output for name in ("learning_rate", "hidden"))


def test_a_bare_model_file_starts(evolve, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, num_classes))\n"
    )
    code, output, _ = evolve(folder, "net.py", "--dataset", "digits", "--llm", "offline", "--variants", "3")
    assert code == 0 and "The model is Net of net.py" in output and "One training has 5 epochs" in output
