"""Runs that are watched, stopped, killed or fail while their seed is trained: the command as a user meets it."""

import json
import signal
import time

import pytest

from tests.run.test_whole_runs import events, order, settings, wait_for

SEED = """
import time

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        if self.training and len(x) > 8:  # not in the smoke stage
            self.fit(torch.initial_seed())
        return self.head(x.mean((2, 3)))

    def fit(self, seed):
        {fit}


def build_model(num_classes, in_channels):
    return Net(num_classes, in_channels)
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OFFLINE = ("--llm", "offline", "--out", "run")


@pytest.fixture
def begin(start, tmp_path):
    """Starts a run whose seed does this at each step of a training; one candidate follows."""

    def with_seed(fit, *options, **more):
        (tmp_path / "seed/model.py").write_text(SEED.replace("{fit}", fit))
        chosen = settings(noise__trainings=3, sandbox__slots=1, limits__variants=1, **more)
        return start("run", "seed", *OFFLINE, *chosen, *options)

    return with_seed


@pytest.fixture
def status(evolve, tmp_path):
    def facts():
        printed = evolve("status", "run", "--json", cwd=tmp_path)
        assert printed.returncode == 0, printed.stderr
        return json.loads(printed.stdout)

    return facts


def finish(start, *options):
    process = start("resume", "run", *options)
    _, output = process.communicate()
    return process.returncode, output


def test_a_run_that_is_killed_while_its_seed_trains_is_there_and_is_resumed(begin, start, status, evolve, tmp_path):
    run = tmp_path / "run"
    process = begin("time.sleep(1)")
    wait_for(run, "started", 1, process)
    process.send_signal(signal.SIGSTOP)  # it holds its lock, and what the commands print does not depend on their time
    facts = status()
    assert (facts["state"], facts["phase"]) == ("running", "seed")
    assert facts["seed"] == {"fitness": None, "trainings": 0, "planned": 4, "error": None}
    assert "running (training the seed)" in evolve("status", "run", cwd=tmp_path).stdout
    for command in (["show"], ["show", "--lessons"], ["show", "--arms"], ["report"]):
        done = evolve(command[0], "run", *command[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    process.kill()
    process.wait()
    assert [kind for kind, _ in order(run)] == ["started"]
    facts = status()
    assert (facts["state"], facts["phase"]) == ("stopped", None)

    process = start("resume", "run")
    wait_for(run, "repeated", 1, process)
    process.send_signal(signal.SIGSTOP)
    facts = status()
    assert (facts["phase"], facts["seed"]["planned"]) == ("noise", 4)
    assert 2 <= facts["seed"]["trainings"] < 4
    assert "trainings of the seed are made)" in evolve("status", "run", cwd=tmp_path).stdout
    process.kill()
    process.wait()
    known = {**events(run, "settled"), **events(run, "repeated")}

    code, output = finish(start)
    assert code == 0, output
    assert "training the seed" not in output and f"{len(known)} of 4 trainings" in output
    assert known.items() <= {**events(run, "settled"), **events(run, "repeated")}.items()
    assert list(events(run, "repeated")) == ["1", "2", "3"]
    assert events(run, "settled").keys() == {"seed", "0001"}
    assert len(events(run, "started")) == 3
    assert (status()["state"], status()["phase"]) == ("finished", None)


def test_ctrl_c_while_the_seed_trains_keeps_that_training(begin, start, status, tmp_path):
    run = tmp_path / "run"
    process = begin("time.sleep(2)")
    wait_for(run, "started", 1, process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate()
    assert process.returncode == 130, output
    assert "evolve resume run" in output and "Traceback" not in output
    assert [kind for kind, _ in order(run) if kind != "committed"] == ["started", "settled", "ended"]
    assert (status()["state"], status()["reason"]) == ("stopped", "stopped by the user")
    code, output = finish(start)
    assert code == 0 and "training the seed" not in output, output
    assert events(run, "settled").keys() == {"seed", "0001"}


def test_a_second_ctrl_c_while_the_seed_trains_stops_at_once(begin, start, status, tmp_path):
    run = tmp_path / "run"
    process = begin("time.sleep(60 if seed == 0 else 0)", budget__time_limit="300s")
    wait_for(run, "started", 1, process)
    for _ in range(2):
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert [kind for kind, _ in order(run)] == ["started", "ended"]
    assert status()["state"] == "stopped"


def test_a_seed_that_fails_in_training_ends_the_run_and_says_so(begin, start, status, hook, tmp_path):
    url, printed = hook
    process = begin("raise ValueError('no data')", "--notify", url)
    _, output = process.communicate()
    assert process.returncode == 1, output
    assert "Failed: The seed does not train (stage fit): ValueError: no data" in output and "Traceback" not in output
    assert [kind for kind, _ in order(tmp_path / "run")] == ["started", "seed_failed", "ended"]
    assert (status()["state"], status()["seed"]["fitness"]) == ("failed", None)
    (message,) = printed
    assert (message["state"], message["exit_code"]) == ("failed", 1) and "ValueError: no data" in message["text"]

    model = tmp_path / "seed/model.py"  # nothing was measured with it, so nothing has to be accepted
    model.write_text(model.read_text().replace("raise ValueError('no data')", "return"))
    code, output = finish(start)
    assert code == 0, output
    assert "seed/model.py changed" in output
    assert "raise" not in events(tmp_path / "run", "settled")["seed"]["files"]["model.py"]


def test_a_seed_that_fails_with_another_training_seed_ends_the_run(begin, start, status, hook, tmp_path):
    url, printed = hook
    process = begin("assert seed != 2, 'unlucky'", "--notify", url)
    _, output = process.communicate()
    assert process.returncode == 1, output
    assert "trains with training seed 0 and fails with 2: AssertionError: unlucky" in output
    assert list(events(tmp_path / "run", "repeated")) == ["1", "3"]
    assert (status()["state"], [one["state"] for one in printed]) == ("failed", ["failed"])
    code, output = finish(start, "--set", "noise.trainings=0")
    assert code == 0, output
    assert status()["state"] == "finished"


def test_the_seed_has_only_the_time_of_the_run(begin, start, status, tmp_path):
    limits = {"limits__hours": 0.001, "limits__grace_seconds": 0, "limits__reserve": 0, "budget__time_limit": "300s"}
    process = begin("time.sleep(60 if seed == 0 else 0)", **limits)
    _, output = process.communicate()
    assert process.returncode == 1, output
    assert "Failed: The seed was not trained before the end (hours: " in output
    assert [kind for kind, _ in order(tmp_path / "run")] == ["started", "ended"]
    assert status()["spend"]["seconds"] < 40
