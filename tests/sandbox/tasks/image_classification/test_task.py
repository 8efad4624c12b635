"""Evaluations of real trainings: the values of a good candidate, and the reasons of a failing one."""

from pathlib import Path

import numpy as np
import pytest

from sandbox.launch.client import ForkServerSandbox
from sandbox.sandbox import SandboxUnavailable, TaskError
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured, StageFailure
from sandbox.tasks.common.stages import MAX_CODE

TINY = Path(__file__).parents[4].joinpath("seeds/tiny_cnn/model.py").read_text()
IN_FIT = "    if len(images) == 64:\n"  # the smoke stage tries 8 images


def test_a_good_candidate_is_measured(evaluate, recorder):
    measured = evaluate(TINY, epochs=6)
    assert isinstance(measured, Measured)
    assert measured.values["accuracy"] > 0.9
    assert measured.values["parameters"] == 144 + 32 + 4608 + 64 + 330
    assert measured.parameters_by_block == {"Stage": 144 + 32 + 4608 + 64, "TinyCNN": 330}
    assert measured.seconds.keys() == {"smoke", "fit", "predict"}
    assert all(seconds > 0 for seconds in measured.seconds.values())
    assert measured.peak_memory > 50 << 20
    assert measured.level == recorder.level
    assert measured.layers == recorder.reports[-1].layers


def test_the_curve_has_a_row_for_each_epoch_and_falls(evaluate):
    curve = evaluate(TINY, epochs=4).curve
    assert len(curve) == 4
    assert curve[-1][0] < curve[0][0]
    assert curve[-1][1] > curve[0][1]


def test_steps_are_a_budget_too_and_cut_the_last_epoch_short(open_digits, recorder, cache):
    task = open_task({"dataset": "digits"}, {"steps": 20, "batch_size": 64}, {}, ("model.py",), cache)
    measured = task.evaluate(Job({"model.py": TINY}, 0), recorder)
    assert len(measured.curve) == 2
    assert "20 optimizer steps with shuffled batches of 64, which is 1.18 epochs" in task.facts()["Training"]


def test_the_same_job_gives_the_same_bits_also_in_another_sandbox(evaluate, recorder, open_digits):
    other = ForkServerSandbox(recorder.level)
    try:
        for _ in range(2):
            evaluate(TINY, seed=5, epochs=1)
        third = open_digits(epochs=1).evaluate(Job({"model.py": TINY}, 5), spy := type(recorder)(other))
    finally:
        other.close()
    assert isinstance(third, Measured)
    results = [report.result for report in recorder.reports]
    assert results[: len(results) // 2] == results[len(results) // 2 :] == [report.result for report in spy.reports]


def test_another_training_seed_gives_other_weights(evaluate, recorder):
    evaluate(TINY, seed=1, epochs=1)
    evaluate(TINY, seed=2, epochs=1)
    assert recorder.reports[1].result != recorder.reports[len(recorder.reports) // 2 + 1].result


def test_without_an_optimizer_of_its_own_a_candidate_gets_a_default(honest):
    assert honest["accuracy"] > 0.75


def test_several_files_are_one_candidate(cache, recorder):
    files = {"model.py": "from parts.net import build_model\n", "parts/net.py": TINY}
    task = open_task({"dataset": "digits"}, {"epochs": 4}, {}, tuple(files), cache)
    assert task.evaluate(Job(files, 0), recorder).values["accuracy"] > 0.9


def test_a_classifier_of_several_files_is_trained(cache, warm, honest_source, honest):
    head, _, build = honest_source.partition("def build_model")
    files = {
        "model.py": f"from nets.small import Net\n\n\ndef build_model{build}",
        "nets/__init__.py": "WIDTH = 8\n",
        "nets/small.py": head.replace("import ctypes", "from . import WIDTH\nimport ctypes").replace("8, 3,", "WIDTH, 3,"),
    }
    task = open_task({"dataset": "digits"}, {"epochs": 3}, {}, tuple(files), cache)
    measured = task.evaluate(Job(files, 0), warm)
    assert isinstance(measured, Measured), measured
    assert measured.values == honest
    assert measured.parameters_by_block == {"Net": honest["parameters"]}


STOPS = {
    "import error": (
        "import torch\nimport nosuchmodule\n",
        "smoke",
        "ModuleNotFoundError: No module named 'nosuchmodule' (model.py, line 2, in <module>).",
    ),
    "no build_model": ("import torch\n", "smoke", "has no function build_model(num_classes, in_channels)"),
    "not a module": (
        TINY + "\n\ndef build_model(a, b):\n    return 7\n",
        "smoke",
        "returned int, not a torch.nn.Module",
    ),
    "no parameters": (
        "from torch import nn\n\n\nclass Zero(nn.Module):\n    def forward(self, x):\n"
        "        return x.flatten(1)[:, :10].requires_grad_()\n\n\ndef build_model(a, b):\n    return Zero()\n"
        "\n\ndef build_optimizer(model, steps):\n    import torch\n\n"
        "    return torch.optim.SGD([torch.zeros(1)], lr=1)\n",
        "smoke",
        "ValueError: the model that build_model returned has no parameters.",
    ),
    "wrong logits": (
        TINY + "\n\ndef build_model(num_classes, in_channels):\n    return TinyCNN(3, in_channels)\n",
        "smoke",
        "the model returned (8, 3) for a batch of 8; it must return (8, 10)",
    ),
    "no tensor": (
        TINY + "\n\nTinyCNN.forward = lambda self, x: [x]\n",
        "smoke",
        "the model returned list for a batch of 8; it must return (8, 10)",
    ),
    "error in forward": (
        TINY.replace("        x = self.second", "        self.check(x)\n        x = self.second")
        + "\n\ndef check(self, x):\n    raise ValueError('too dark')\n\n\nTinyCNN.check = check\n",
        "smoke",
        "ValueError: too dark (model.py, line 45, in check).",
    ),
    "error of an unusual name": (
        TINY
        + "\n\nclass Oops(BaseException):\n    pass\n\n\ndef augment(images, generator):\n    raise Oops('sorry')\n",
        "smoke",
        "model.Oops: sorry (model.py, line 48, in augment).",
    ),
    "error in training only": (
        TINY + "\n\ndef augment(images, generator):\n" + IN_FIT + "        return next(iter([]))\n    return images\n",
        "fit",
        "StopIteration (model.py, line 45, in augment).",
    ),
    "NaN in training": (
        TINY + "\n\ndef loss(logits, labels):\n    return F.cross_entropy(logits, labels) * float('nan')\n",
        "fit",
        "FloatingPointError: the training loss became nan in epoch 1.",
    ),
    "NaN in eval only": (
        TINY.replace(
            "        return self.head(", "        x = x if self.training else x / 0\n        return self.head("
        ),
        "predict",
        "The trained model predicts NaN or infinite logits.",
    ),
    "sys.exit": ("import sys\nsys.exit(3)\n", "smoke", "SystemExit: the program ended itself with 3."),
    "os._exit": ("import os\nos._exit(3)\n", "smoke", "The process ended early with exit code 3."),
    "os._exit as if all were well": ("import os\nos._exit(0)\n", "smoke", "ended itself before its model was tried"),
    "os._exit in training": (
        TINY
        + "\n\nimport os\n\n\ndef augment(images, generator):\n"
        + IN_FIT
        + "        os._exit(0)\n    return images\n",
        "fit",
        "Training ended without returning its weights.",
    ),
    "segfault": ("import ctypes\nctypes.string_at(0)\n", "smoke", "The process died of signal 11."),
    "abort": ("import os\nos.abort()\n", "smoke", "The process died of signal 6."),
    "rubbish optimizer": (
        TINY + "\n\ndef build_optimizer(model, steps):\n    return 'adam'\n",
        "smoke",
        "TypeError: build_optimizer returned str, not a torch.optim.Optimizer.",
    ),
    "augment drops images": (
        TINY + "\n\ndef augment(images, generator):\n    return images[:5]\n",
        "smoke",
        "the model returned (5, 10) for a batch of 8",
    ),
    "augment drops images in training only": (
        TINY + "\n\ndef augment(images, generator):\n" + IN_FIT + "        return images[:5]\n    return images\n",
        "fit",
        "ValueError: Expected input batch_size (5) to match target batch_size (64).",
    ),
    "augment changes channels": (
        TINY + "\n\ndef augment(images, generator):\n    return images.repeat(1, 3, 1, 1)\n",
        "smoke",
        "expected input[8, 3, 8, 8] to have 1 channels",
    ),
    "loss of many numbers": (
        TINY + "\n\ndef loss(logits, labels):\n    return F.cross_entropy(logits, labels, reduction='none')\n",
        "smoke",
        "grad can be implicitly created only for scalar outputs",
    ),
    "parameters after the smoke stage": (
        TINY
        + "\n\ndef augment(images, generator):\n"
        + IN_FIT
        + "        MODEL.extra = nn.Linear(3, 3)\n    return images\n"
        + "\n\ndef build_model(a, b):\n    global MODEL\n    MODEL = TinyCNN(a, b)\n    return MODEL\n",
        "fit",
        "the tensor 'extra.bias' is F32 [3] after training and was not there in the model as first built",
    ),
    "another model in training": (
        TINY + "\n\ndef build_model(a, b):\n    import sandbox.inside.call, sys\n\n"
        "    inside = sys._getframe(3).f_code.co_name\n    return TinyCNN(a, b, 16 if inside == 'smoke' else 64)\n",
        "fit",
        "the tensor 'first.conv.weight' is F32 [64, 1, 3, 3] after training and was F32 [16, 1, 3, 3]",
    ),
    "too long a program": (TINY + "#" * MAX_CODE, "smoke", "characters; 200,000 is the limit."),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_candidate_at_fault_is_stopped_where_it_fails_with_the_reason(name, evaluate):
    source, stage, reason = STOPS[name]
    stopped = evaluate(source, time_limit="20s")
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == stage
    assert reason in stopped.reason


def test_a_crowd_of_processes_is_stopped(evaluate, recorder):
    # Never a bomb: at the weakest level only the supervisor stops it.
    crowd = "import os, time\n\n"
    crowd += "for _ in range(40):\n    if os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n"
    stopped = evaluate(crowd + "time.sleep(20)\n", time_limit="20s")
    assert stopped.stage == "smoke"
    refused = "It starts a process (os.fork, model.py, line 4, in <module>): the sandbox lets a program start none"
    assert stopped.reason.startswith("It started processes, which is not allowed." if recorder.level == "none" else refused)


@pytest.mark.parametrize(("where", "stage"), [("", "smoke"), (IN_FIT, "fit")])
def test_an_endless_loop_ends_at_the_time_limit(where, stage, evaluate):
    loop = (where or "    if True:\n") + "        while True:\n            pass\n    return images\n"
    stopped = evaluate(f"{TINY}\n\ndef augment(images, generator):\n{loop}", time_limit="1.5s")
    assert stopped == StageFailure(stage, "It ran longer than its limit of 1.5 s.", stopped.log)


def test_a_memory_hog_is_stopped_at_the_limit(evaluate):
    hog = "def augment(images, generator):\n    while True:\n        HOARD.append(torch.ones(5_000_000))\n"
    stopped = evaluate(f"{TINY}\n\nHOARD = []\n\n\n{hog}", memory="200MiB")
    assert stopped == StageFailure("smoke", "It used more memory than its limit of 0.195 GiB.", stopped.log)


def test_a_declared_bound_stops_a_model_that_is_too_large_before_training(evaluate, recorder):
    stopped = evaluate(TINY, at_most=5177)
    assert stopped == StageFailure("smoke", "The model has 5,178 parameters; at most 5,177 are allowed.")
    assert len(recorder.calls) == 1


def test_a_model_as_large_as_the_bound_is_measured(evaluate):
    assert evaluate(TINY, at_most=5178).values["parameters"] == 5178


def test_buffers_count_against_the_bound(evaluate):
    source = TINY.replace(
        "        self.dropout =", "        self.register_buffer('table', torch.zeros(9))\n        self.dropout ="
    )
    assert evaluate(source, at_most=5178).reason == "The model has 5,187 parameters; at most 5,178 are allowed."


def test_a_closed_sandbox_is_the_machines_fault(open_digits):
    sandbox = ForkServerSandbox("none")
    sandbox.close()
    with pytest.raises(SandboxUnavailable):
        open_digits().evaluate(Job({"model.py": TINY}, 0), sandbox)


@pytest.mark.parametrize(
    ("task", "budget", "words"),
    [
        ({}, {"epochs": 1}, "task.dataset is missing"),
        ({"dataset": "digits", "data": 1}, {"epochs": 1}, "task: unknown key data"),
        ({"dataset": "digits", "name": "golf"}, {"epochs": 1}, "there is no task 'golf'"),
        ({"dataset": "digits", "entry": "x.py"}, {"epochs": 1}, "x.py is not among the seed's files (model.py)"),
        ({"dataset": "digits"}, {}, "either epochs or steps or seconds"),
        ({"dataset": "digits"}, {"epochs": 1, "steps": 1}, "either epochs or steps or seconds"),
        ({"dataset": "digits"}, {"epochs": 0}, "budget.epochs must be a whole number of at least 1, not 0"),
        ({"dataset": "digits"}, {"epochs": True}, "budget.epochs must be a whole number"),
        ({"dataset": "digits"}, {"epochs": 1, "time_limit": 60}, "must be a number with a unit (s, m, min, h)"),
        ({"dataset": "digits"}, {"epochs": 1, "memory": "4 lots"}, "must be a number with a unit (MiB, GiB, MB, GB)"),
        ({"dataset": "digits"}, {"epochs": 1, "memory": "0GiB"}, 'budget.memory = "0GiB"'),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(task, budget, words, cache):
    with pytest.raises(TaskError) as error:
        open_task(task, budget, {}, ("model.py",), cache)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_facts_are_true(open_digits):
    facts = open_digits(at_most=9000, time_limit="2min", memory="3GiB").facts()
    assert "8 x 8 pixels; 1,087 to train on, 106 to 111 of each class, and 355 others (validation)" in facts["Data"]
    assert "3 epochs of shuffled batches of 64, which is 51 optimizer steps" in facts["Training"]
    assert "120 s and 3 GiB for one training" in facts["Limits"]
    assert "one image is 0.0028" in facts["Score"]


class TestSealedSplit:
    """A private copy of the data, whose test labels are changed."""

    @pytest.fixture
    def labels(self, tmp_path):
        (tmp_path / "secret").write_text("5e" * 16)
        open_task({"dataset": "digits"}, {"epochs": 1}, {}, ("model.py",), tmp_path)
        (found,) = tmp_path.rglob("labels/test.npy")
        return found

    def evaluate(self, cache, recorder, *, test_too):
        task = open_task({"dataset": "digits"}, {"epochs": 2}, {}, ("model.py",), cache)
        return task.evaluate(Job({"model.py": TINY}, 0, test_too=test_too), recorder)

    def test_accuracy_on_it_is_that_of_the_same_weights_on_its_own_labels(self, labels, recorder, tmp_path):
        both = self.evaluate(tmp_path, recorder, test_too=True)
        assert both.test_values["accuracy"] > 0.8 and both.test_values["accuracy"] != both.values["accuracy"]
        assert both.test_values["parameters"] == both.values["parameters"]
        assert [call.entry.rpartition(":")[2] for call in recorder.calls] == ["smoke", "fit", *["predict"] * 8]
        np.save(labels, np.full(355, 3))
        threes = self.evaluate(tmp_path, recorder, test_too=True)
        assert threes.values["accuracy"] == both.values["accuracy"]
        assert 0.02 < threes.test_values["accuracy"] < 0.3

    def test_without_a_confirmation_its_labels_are_not_even_opened(self, labels, recorder, tmp_path):
        labels.write_bytes(b"no array")
        measured = self.evaluate(tmp_path, recorder, test_too=False)
        assert isinstance(measured, Measured) and measured.test_values is None
        with pytest.raises(ValueError):
            self.evaluate(tmp_path, recorder, test_too=True)

    def test_it_is_said_where_it_comes_from(self, tmp_path):
        task = open_task({"dataset": "digits"}, {"epochs": 1}, {}, ("model.py",), tmp_path)
        assert task.has_test_split
        assert task.test_note == "a fifth of the training images of each class, set aside before any search, 355 images"
