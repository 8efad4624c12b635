"""A seed's own task in the sandbox: which results of a candidate are accepted, and which are not."""

import re

import numpy as np
import pytest

from sandbox.tasks.common.job import Measured, StageFailed, StageFailure
from sandbox.tasks.own.scoring import changed_share
from sandbox.tasks.own.splits import Splits
from sandbox.tasks.own.task import OwnTask


def test_an_own_task_trains_predicts_and_scores(evaluate_own, recorder):
    measured = evaluate_own()
    assert isinstance(measured, Measured), measured
    assert measured.values["error"] < 0.2
    assert measured.values["parameters"] == 5
    assert measured.values["train_time"] > 0
    assert 0 < measured.values["memory"] < 4096
    assert measured.parameters_by_block == {"Model": 5}
    stages = [call.entry.rpartition(":")[2] for call in recorder.calls]
    assert stages == ["smoke", "fit", *["predict"] * 4]


def test_targets_of_validation_and_test_enter_no_sandbox(evaluate_own, recorder, open_own):
    task = open_own()
    assert isinstance(task, OwnTask)
    assert isinstance(evaluate_own(), Measured)
    assert isinstance(evaluate_own(test_too=True), Measured)
    handed = b"".join(data for inputs in recorder.inputs for data in inputs.values())
    for split in ("validation", "test"):
        (part,) = task.splits.parts[split]
        assert part.inputs[""][0].tobytes() in handed
        for some in np.split(part.targets, 10):
            assert some.tobytes() not in handed
    (part,) = task.splits.parts["test"]
    first = [data for inputs in recorder.inputs[:6] for data in inputs.values()]
    assert not any(part.inputs[""][0].tobytes() in data for data in first)


def test_the_smoke_stage_sees_no_real_row(evaluate_own, recorder, open_own):
    evaluate_own()
    (part,) = open_own().splits.parts["validation"]
    rows = [row.tobytes() for row in (*open_own().splits.train["x"], *part.inputs[""])]
    assert not any(row in data for row in rows for data in recorder.inputs[0].values())


@pytest.mark.parametrize(
    "body",
    [
        "return y + torch.arange(len(x))",
        "return y + x.mean()",
        "return y + len(x)",
        "return y + 100 * float(np.random.rand())",
        "return y * 1e6 - (y * 1e6).mean()",
    ],
    ids=["position", "the batch's mean", "batch size", "chance", "a large scale"],
)
def test_predictions_that_depend_on_other_rows_stop_at_integrity(evaluate_own, model_text, body):
    cheat = model_text.replace(
        "        return self.linear(x).squeeze(1)",
        f"        y = self.linear(x).squeeze(1)\n        if torch.is_grad_enabled():\n            return y\n        {body}",
    )
    stopped = evaluate_own(cheat)
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == "integrity"
    assert "every row must be predicted by itself" in stopped.reason


def test_weights_must_have_the_layout_of_the_smoke_stage(evaluate_own, model_text):
    learned = model_text + (
        "\n    def state_dict(self, *a, **k):\n        state = super().state_dict(*a, **k)\n"
        "        return {**state, 'x' + str(float(self.linear.bias.detach())): torch.zeros(1)}\n"
        "\n    def load_state_dict(self, state):\n"
        "        super().load_state_dict({k: v for k, v in state.items() if k[0] != 'x'})\n"
    )
    stopped = evaluate_own(learned)
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == "fit"
    assert "was not there in the model as first built" in stopped.reason


def test_statistics_of_a_batch_normalisation_are_folded_and_not_counted(evaluate_own, model_text):
    normed = model_text.replace("self.linear = ", "self.norm = nn.BatchNorm1d(4)\n        self.linear = ").replace(
        "self.linear(x)", "self.linear(self.norm(x))"
    )
    by_itself = "def forward(self, x):\n        self.train(torch.is_grad_enabled())"
    measured = evaluate_own(normed.replace("def forward(self, x):", by_itself))
    assert isinstance(measured, Measured), measured
    assert measured.values["parameters"] == 5 + 8
    assert measured.values["error"] < 0.3


def test_a_bound_on_parameters_stops_a_model_before_it_is_trained(evaluate_own, recorder):
    stopped = evaluate_own(bounds={"parameters": 4})
    assert isinstance(stopped, StageFailure)
    assert (stopped.stage, len(recorder.calls)) == ("smoke", 1)


@pytest.mark.parametrize(
    ("old", "new", "stage", "message"),
    [
        ("float(np.abs(predictions - targets).mean())", "float('nan')", "score", "returned nan for error, which must be finite"),
        ('{"error": float', '{"err": float', "score", r"returned ['err'], and its objectives are ['error']"),
        ("float(np.abs(predictions - targets).mean())", "'good'", "score", "returned 'good' for error, which is no number"),
        ('return {"error"', 'return 1 / 0, {"error"', "score", "ZeroDivisionError: division by zero (line "),
        ("return torch.cat", "return [[1]] or torch.cat", "smoke", "an array of (1, 1) for 50 rows"),
        ("    return model\n\n\ndef predict", "    return 3\n\n\ndef predict", "smoke", "it must return the trained module"),
        ("budget.steps", "budget.epochs", "smoke", "has no attribute 'epochs'"),
    ],
    ids=["NaN", "another name", "a text", "an error", "another shape", "no weights", "a budget that is not there"],
)
def test_errors_of_a_task_file_in_an_evaluation_are_named(evaluate_own, task_text, old, new, stage, message):
    assert old in task_text
    stopped = evaluate_own(text=task_text.replace(old, new))
    assert isinstance(stopped, StageFailure)
    assert (stopped.stage, message in stopped.reason) == (stage, True), stopped


@pytest.mark.parametrize(
    ("source", "stage", "message"),
    [
        ("raise RuntimeError('no')", "smoke", "RuntimeError: no"),
        ("Other = 3", "smoke", "has no attribute 'Model'"),
        ("MODEL\n\ndef slow(*a, **k):\n    time.sleep(60)\n\nModel.forward = slow", "smoke", "longer than its limit"),
        ("MODEL\n\nnn.Module.load_state_dict = lambda m, state: m.linear.weight.data.fill_(torch.nan)", "predict", "NaN"),
    ],
    ids=["crash", "nothing there", "hang", "NaN"],
)
def test_errors_of_a_candidate_are_failures_with_their_stage(evaluate_own, model_text, source, stage, message):
    stopped = evaluate_own(source.replace("MODEL", model_text), time_limit="3s" if "sleep(" in source else "60s")
    assert isinstance(stopped, StageFailure)
    assert (stopped.stage, message in stopped.reason) == (stage, True), stopped


def test_several_files_are_trained_together(evaluate_own, model_text):
    files = {
        "main.py": "from parts.layer import Model\n",
        "parts/__init__.py": "",
        "parts/layer.py": model_text,
    }
    measured = evaluate_own(files)
    assert isinstance(measured, Measured), measured
    assert measured.parameters_by_block == {"Model": 5}


def test_parts_are_predicted_apart(evaluate_own, recorder, task_text):
    parted = task_text.replace("(x[200:250], y[200:250])", "[(x[200 + i : 250 : 5], y[200 + i : 250 : 5]) for i in range(5)]")
    apart, whole = evaluate_own(text=parted), evaluate_own()
    assert {**apart.values, "train_time": 0} == pytest.approx({**whole.values, "train_time": 0}, rel=0.2)
    predictions = [inputs for inputs in recorder.inputs[:22] if "weights" in inputs]
    sizes = [len(np.frombuffer(inputs["inputs/"][128:], "f4")) // 4 for inputs in predictions]
    assert sizes == [10, 5, 5] * 5 + [10] * 5  # the last with foreign weights


def test_the_worse_of_two_passes_counts_and_few_rows_may_differ(open_own, task_text):
    task = open_own(task_text.replace("(x[200:250], y[200:250])", "(x[:200], y[:200])"))
    right = task.splits.parts["validation"][0].targets
    other = right.copy()
    other[7] += 10
    targets = task.splits.targets()
    assert task.scoring.worse(targets, right, right) == {"error": 0.0}
    one, swapped = task.scoring.worse(targets, right, other), task.scoring.worse(targets, other, right)
    assert one == swapped == {"error": pytest.approx(0.05)}
    other[8:10] += 10
    with pytest.raises(StageFailed, match=r"1\.5% of the rows"):
        task.scoring.worse(targets, right, other)


def test_prompts_contain_how_it_trains_and_the_authors_facts(open_own, task_text):
    message = open_own().facts()
    assert "for _ in range(budget.steps)" in message["Training"]
    assert re.search(r"^  ```python$", message["Training"], re.MULTILINE)
    assert message["Budget"] == "steps 30"
    assert "validation has 50 rows" in message["Data"]
    words = 'def facts():\n    return {"Data": "Numbers,\\n  and their sums.", "Hint": "Be exact."}\n'
    shown = open_own(f"{task_text}\n\n{words}").facts()
    assert (shown["Data"], shown["Hint"]) == ("Numbers, and their sums.", "Be exact.")


def test_names_that_a_task_file_calls_are_entry_points(open_own):
    assert "Model" in open_own().entry_points


def test_a_state_of_tensors_does_as_well_as_a_module(evaluate_own, task_text):
    end = "\n\n\ndef predict"
    measured = evaluate_own(text=task_text.replace(f"    return model{end}", f"    return model.state_dict(){end}"))
    assert isinstance(measured, Measured), measured
    assert measured.values["parameters"] == 5
    assert measured.parameters_by_block == {}


def test_the_test_split_is_scored_with_the_same_weights_only_where_that_is_asked_for(evaluate_own, recorder):
    plain = evaluate_own()
    both = evaluate_own(test_too=True)
    assert plain.test_values is None
    assert both.values["error"] == plain.values["error"]
    assert both.test_values["error"] != both.values["error"]
    assert both.test_values["parameters"] == 5
    stages = [call.entry.rpartition(":")[2] for call in recorder.calls]
    assert stages[6:] == ["smoke", "fit", *["predict"] * 7]


def test_targets_of_the_test_split_are_scored_against_only_for_a_confirmation(evaluate_own, monkeypatch):
    monkeypatch.setattr(Splits, "sealed_targets", lambda self: 1 / 0)
    assert isinstance(evaluate_own(), Measured)
    with pytest.raises(ZeroDivisionError):
        evaluate_own(test_too=True)


KNOWS = """

class Knows(Model):
    def forward(self, x):
        y = super().forward(x)
        return y if torch.is_grad_enabled() else x.sum(1) + 0 * y


Model = Knows
"""
"""It predicts by the rule of the data, which it has from its author and not from its weights."""


def test_a_program_that_predicts_without_its_weights_is_stopped(evaluate_own, model_text):
    stopped = evaluate_own(model_text + KNOWS)
    assert isinstance(stopped, StageFailure)
    assert stopped.stage == "integrity"
    assert "keeps 100% of its gain in error over a constant prediction" in stopped.reason


def test_an_author_may_let_programs_predict_well_untrained(evaluate_own, model_text, task_text):
    measured = evaluate_own(model_text + KNOWS, task_text + "\n\nforeign_weights = False\n")
    assert measured.values["error"] < 1e-5


def test_what_has_learned_nothing_or_cannot_be_scored_is_not_judged(evaluate_own, model_text, task_text):
    constant = model_text.replace("return self.linear(x).squeeze(1)", "return 0 * self.linear(x).squeeze(1)")
    assert isinstance(evaluate_own(constant), Measured)
    refuses = task_text.replace(
        "def score(predictions, targets):\n", "def score(predictions, targets):\n    assert predictions.std() > 0\n"
    )
    assert isinstance(evaluate_own(model_text + KNOWS, refuses), Measured)


@pytest.mark.parametrize(
    "shape", [lambda y: np.append(y[:-1], 1e7), lambda y: np.where(np.arange(len(y)) % 2, y + 1e5, y), lambda y: y * 1e-9],
    ids=["an outlier", "two heaps", "a small scale"],
)  # fmt: skip
def test_no_extreme_rows_hide_that_others_have_changed(shape):
    random = np.random.default_rng(0)
    y, other = random.normal(size=400), random.normal(size=400)
    assert changed_share(shape(y).astype("f4"), shape(y + 0.3 * other).astype("f4")) > 0.3
    assert changed_share(shape(y).astype("f4"), shape(y).astype("f4") * np.float32(1 + 1e-6)) == 0


def test_rounding_changes_no_rows():
    random = np.random.default_rng(0)
    for values in (np.zeros((300, 4)), np.ones((300, 1)), random.integers(0, 2, (300, 3)), random.normal(size=(300, 2))):
        noise = 1e-7 * random.normal(size=values.shape)
        assert changed_share(values.astype("f4"), (values * (1 + noise)).astype("f4")) == 0
