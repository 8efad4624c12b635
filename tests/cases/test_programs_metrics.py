"""Small scripts of other people that once failed, from the folder beside the checkout; skipped where it is absent."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.conftest import cases_folder

ROOT = Path(__file__).parents[2]
CASES = (cases_folder() or ROOT.parent / "shared/cases") / "programs"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")]


@pytest.fixture
def evolve(tmp_path):
    def run(case, *options, script="train.py"):
        shutil.copytree(CASES / case, tmp_path / case)
        command = [sys.executable, "-m", "agent.cli", "run", script, "--command", f"python {script}", "--llm", "offline"]
        settings = ["--slots", "1", "--set", "noise.trainings=0", "--out", str(tmp_path / "run")]
        result = subprocess.run(
            [*command, *options, *settings], cwd=tmp_path / case, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return result.returncode, result.stdout + result.stderr

    return run


def test_the_offline_model_leaves_the_measurement_alone(evolve):
    code, text = evolve("offline_forges", "--metric", "acc:max", "--variants", "6", "--seed", "1")
    assert code == 0, text
    assert "test (prints acc)" in text and "100. to" not in text


@pytest.mark.parametrize("script", ["train.py", "globals_update.py"])
def test_a_name_that_was_undefined_before_is_not_the_answers_fault(evolve, script):
    _, text = evolve("undefined_before", "--metric", "val_loss:min", "--variants", "3", script=script)
    assert "`plt` is not defined" not in text and "`width` is not defined" not in text


def test_units_are_read(evolve):
    _, text = evolve("metric_unit", "--metric", "params:min", "--metric", "step_time:min", "--variants", "1")
    assert "params 1,440" in text and "step_time 0.0000 " not in text


def test_data_beside_the_project_is_found_by_its_relative_path(tmp_path):
    shutil.copytree(CASES / "parent_data", tmp_path / "case")
    folder = tmp_path / "case/proj"
    flags = ["--metric", "val_loss:min", "--llm", "offline", "--variants", "1", "--slots", "1", "--set", "noise.trainings=0"]
    command = [sys.executable, "-m", "agent.cli", "run", "train.py", "--command", "python train.py", *flags]
    settings = ["--set", 'task.readable=["../data"]', "--out", str(tmp_path / "run")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run([*command, *settings], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert "seed: val_loss 2" in result.stdout + result.stderr
