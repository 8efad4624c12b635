"""A bare `.py` file as the seed of image classification."""

import pytest

from agent.core.errors import UserError
from agent.run.config_sources import load

NET = """\
from torch import nn


class Part(nn.Module):
    pass


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.part = Part()
"""
FACTORY = NET + "\n\ndef small(n_classes):\n    return Net(n_classes)\n"
BUILD = NET + "\n\ndef build_model(num_classes, in_channels):\n    return Net(num_classes)\n"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (NET, "Net"),
        (FACTORY, "small"),
        (BUILD, None),
        ("from parts import make as build_model\n", None),
        ("import torch\nclass Base(torch.nn.Module): ...\nclass Net(Base): ...\n", "Net"),
    ],
)
def test_what_makes_the_model_is_found_and_told(tmp_path, text, model):
    (tmp_path / "net.py").write_text(text)
    told = []
    config = load(str(tmp_path / "net.py"), None, {"task": {"dataset": "digits"}}, [], tell=told.append)
    assert config.task.get("model") == model
    assert config.budget["epochs"] == 5
    assert [line for line in told if "5 epochs" in line]
    assert bool(model) == any(f"The model is {model} of net.py" in line for line in told)


def test_settings_that_are_given_are_left_alone(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    told = []
    config = load(
        str(tmp_path / "net.py"), None, {"task": {"dataset": "digits", "model": "Part"}}, ["budget.steps=7"], tell=told.append
    )
    assert (config.task["model"], dict(config.budget), told) == ("Part", {"steps": 7}, [])


def test_everything_that_is_missing_is_listed_at_once(tmp_path):
    (tmp_path / "net.py").write_text("def f():\n    return 1\n")
    with pytest.raises(UserError) as error:
        load(str(tmp_path / "net.py"), None, {}, [])
    assert "--dataset FOLDER" in str(error.value) and "net.py has no build_model" in str(error.value)


def test_a_script_and_a_folder_with_a_seed_file_are_no_bare_seeds(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "seed.toml").write_text('[task]\ndataset = "digits"\n')
    assert "epochs" not in load(str(tmp_path), None, {}, [], ["net.py"]).budget
