"""From a bare model file to a run."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def net(tmp_path):
    shutil.copy(ROOT / "seeds/tiny_cnn/model.py", tmp_path / "net.py")
    return tmp_path / "net.py"


def images(folder):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, level in (("cats", 60), ("dogs", 200)):
        (folder / name).mkdir(parents=True)
        for n in range(10):
            image.fromarray(rng.integers(level - 50, level + 50, (12, 12, 3)).astype("uint8")).save(folder / name / f"{n}.png")


def test_a_bare_file_becomes_a_seed_with_blocks_data_and_forecast(evolve, net, tmp_path):
    images(tmp_path / "images")
    done = evolve("init", "net.py", "--dataset", "./images", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("class TinyCNN", "2 classes (cats, dogs)", "forecast: about", "4 images", "evolve run"):
        assert words in done.stdout
    table = tomllib.loads((tmp_path / "seed.toml").read_text())
    assert table["seed"] == {"files": ["net.py"], "frozen": ["build_model"]}
    assert table["task"]["dataset"] == "./images"  # the seed may move together with its images
    small = ("--set", "budget.epochs=1", "--variants", 1, "--set", "noise.trainings=0", "--out", "run")
    run = evolve("run", ".", "--llm", "offline", *small, cwd=tmp_path)
    assert "seed: accuracy" in run.stderr, run.stderr


def test_what_is_there_is_not_overwritten_and_what_cannot_be_read_leaves_nothing(evolve, net, tmp_path):
    for arguments, words in (
        (["net.py", "--dataset", "./nothing"], "there is no data set"),
        (["none.py"], "There is no file none.py"),
    ):
        done = evolve("init", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr and not (tmp_path / "seed.toml").exists()
    (tmp_path / "seed.toml").write_text("mine")
    done = evolve("init", "net.py", cwd=tmp_path)
    assert done.returncode == 2 and "is there already" in done.stderr
    assert (tmp_path / "seed.toml").read_text() == "mine"


def test_a_model_that_does_not_train_is_told(evolve, tmp_path):
    (tmp_path / "net.py").write_text("def build_model(num_classes, in_channels):\n    return 3\n")
    done = evolve("init", "net.py", cwd=tmp_path)
    assert done.returncode == 0 and "It does not train yet (stage" in done.stdout and (tmp_path / "seed.toml").is_file()


def test_a_class_without_build_model_is_named_in_the_seed_and_runs(evolve, tmp_path):
    source = "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, num_classes=10):\n"
    source += "        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))\n"
    (tmp_path / "net.py").write_text(source)
    done = evolve("init", "net.py", cwd=tmp_path)
    assert done.returncode == 0 and "model: Net" in done.stdout
    assert tomllib.loads((tmp_path / "seed.toml").read_text())["task"]["model"] == "Net"
    small = ("--set", "budget.epochs=1", "--variants", 1, "--set", "noise.trainings=0", "--out", "run")
    run = evolve("run", ".", "--llm", "offline", *small, cwd=tmp_path)
    assert run.returncode == 0 and "seed: accuracy" in run.stderr, run.stderr
