"""What is wrong with a `task.py` is one sentence with the file and the remedy, before anything is spent."""

import numpy as np
import pytest

from sandbox import TaskError
from sandbox.tasks.own.splits import Splits


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def score(", "def scored(", r"task\.py has no function score\(predictions, targets\)"),
        ("def fit(module,", "def fit(", r"task\.py: fit is called as fit\(module, train, budget, seed\)"),
        ("title =", "title", r"task\.py is not valid Python: line 3"),
        ('title = "Predict a sum."', "title = 1 / 0", r"cannot be imported: ZeroDivisionError: division by zero \(line 3\)"),
        ('title = "Predict a sum."', "", r"title = "),
        ("import numpy as np", "import model", r"No module named 'model' .*reaches it as `module`"),
        ('{"error": "min"}', '{"error": "less"}', r'objectives = \{"error": "min"\}'),
        ('{"error": "min"}', "{}", r"objectives = "),
        ('{"error": "min"}', '{"parameters": "min"}', r"parameters is measured in any case"),
        ("output_shape = ()", "output_shape = 3", r"output_shape = \(10,\)"),
        ("output_shape = ()", "output_shape = (4_000_000,)", r"one part take 763 MiB; give the split in smaller parts"),
        ("    y = x.sum(1)", "    y = x.sum(7)", r"data\(\) of .* fails: AxisError.* \(line 10\)"),
        ('"validation": (x[200:250], y[200:250])', '"valid": 1', r"must return a dict with the keys train, validation, test"),
        ("(x[200:250], y[200:250])", "(x[200:250], y[:7])", r"one entry for each of the 50 rows"),
        ("(x[200:250], y[200:250])", "x[200:250]", r"must be \(inputs, targets\)"),
        ("(x[200:250], y[200:250])", "[]", r"data\(\)\['validation'\] of .* is empty"),
        ("(x[200:250], y[200:250])", "({'a': x[:9], 'b': x[:8]}, y[:9])", r"the same number of rows"),
        ('"x": x[:200]', '"x": np.array([{}])', r"data\(\)\['train'\] of .*\['x'\] must be an array of numbers"),
        ("def score(", "def example():\n    return 3\n\n\ndef score(", r"example\(\) of .* must return two things"),
        ("def score(", "def facts():\n    return []\n\n\ndef score(", r"facts\(\) of .* must return a dict of texts"),
    ],
)
def test_a_mistake_in_a_task_file_is_named(open_own, task_text, old, new, message):
    assert old in task_text
    with pytest.raises(TaskError, match=message):
        open_own(task_text.replace(old, new))


def test_a_task_file_that_is_not_there_or_that_is_to_evolve_is_refused(open_own, task_text, tmp_path, cache):
    from sandbox.tasks import open_task

    with pytest.raises(TaskError, match=r"there is no file .*other\.py"):
        open_task({"name": "other.py"}, {}, {}, ("model.py",), cache, folder=tmp_path)
    with pytest.raises(TaskError, match=r"task\.py measures the seed's files and cannot be one of them"):
        open_own(task_text, files=("model.py", "task.py"))
    with pytest.raises(TaskError, match=r"there is no task 'imageclassification'; known: image-classification, script, or"):
        open_task({"name": "imageclassification"}, {}, {}, ("model.py",), cache, folder=tmp_path)


def test_the_provenance_of_a_run_includes_its_task_file_and_its_data(open_own, task_text):
    started = open_own().provenance
    assert started["seed/task.py"] == task_text
    assert open_own().provenance == started
    assert open_own(task_text + "\n# an innocent comment\n").provenance.keys() == started.keys()
    other = open_own(task_text.replace("default_rng(0)", "default_rng(1)")).provenance
    assert {name for name in started if other[name] != started[name]} == {"seed/task.py", "data of task.py"}


def test_stand_in_data_have_the_form_of_the_real_and_none_of_its_rows():
    rng = np.random.default_rng(1)
    train = {
        "tokens": rng.integers(3, 90, (5000, 8), "u1"),
        "level": rng.normal(size=5000),
        "flag": np.ones(5000, bool),
        "word": np.array(["a"] * 5000),
        "large": np.full(5000, 2**64 - 1, "u8"),
    }
    pair = (rng.random((40, 3), "f4"), np.arange(40))
    splits = Splits.read({"train": train, "validation": pair, "test": [pair, pair]}, None, "task.py")
    made, inputs = splits.stand_in
    for name, values in train.items():
        assert made[name].dtype == values.dtype
        assert made[name].shape == (1024, *values.shape[1:])
    assert made["tokens"].min() == 3
    assert made["tokens"].max() == 89
    assert not {row.tobytes() for row in made["tokens"]} & {row.tobytes() for row in train["tokens"]}
    assert inputs[""].shape == (40, 3)
    assert [len(splits.parts[split]) for split in ("validation", "test")] == [1, 2]


def test_stand_in_data_of_large_rows_stay_small():
    images = np.zeros((300, 3, 400, 400), "u1")
    pair = (images, images[:, 0, 0, 0])
    splits = Splits.read({"train": images, "validation": pair, "test": pair}, None, "task.py")
    assert 2 <= len(splits.stand_in[0][""]) <= 20
