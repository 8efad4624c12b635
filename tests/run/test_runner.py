"""The start of a run: a wrong number of slots ends it before it has a folder."""

import subprocess

import pytest


@pytest.fixture
def begin(evolve, tmp_path):
    def run(slots):
        environment = {"CUDA_VISIBLE_DEVICES": ""}  # on a machine with GPUs there are none either
        options = ["--llm", "offline", "--out", tmp_path / "run", "--slots", slots]
        return evolve("run", "seeds/tiny_cnn", *options, env=environment)

    return run


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ("2/gpu", "Error: sandbox.slots: 2/gpu was asked for, and there is no GPU here; give cpu:N.\n"),
        ("many", "not 'many'.\n"),
        ("0", "not '0'.\n"),
    ],
)
def test_impossible_slots_are_refused_in_one_sentence_before_anything_is_written(begin, tmp_path, slots, message):
    done: subprocess.CompletedProcess = begin(slots)
    assert done.returncode == 2
    assert done.stderr.endswith(message)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
