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


@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n\n\n", "\n\x0c\n\n").rstrip("\n").encode(),
        lambda text: text.replace("title =", "title =\t").replace("\n", "\r\n", 3).encode(),
        lambda text: f"# -*- coding: latin-1 -*-\n# é\n{text}".encode("latin-1"),
    ],
)
def test_a_task_file_is_read_as_python_reads_it(open_own, task_text, tmp_path, encoded):
    open_own()
    (tmp_path / "task.py").write_bytes(encoded(task_text))
    from sandbox.tasks.own.task_file import TaskFile

    read = TaskFile.load(tmp_path / "task.py")
    assert read.title == "Predict a sum."
    assert "SGD" in read.shown("fit")


@pytest.mark.parametrize(
    "encoded", [lambda t: t.encode("utf-16"), lambda t: b"# \xe9\n" + t.encode(), lambda t: b"# coding: no\n" + t.encode()]
)
def test_a_task_file_that_python_cannot_read_is_refused(open_own, task_text, tmp_path, encoded):
    open_own()
    (tmp_path / "task.py").write_bytes(encoded(task_text))
    from sandbox.tasks.own.task_file import TaskFile

    with pytest.raises(TaskError, match=r"task\.py is not text as Python reads it .*: save it as UTF-8"):
        TaskFile.load(tmp_path / "task.py")


@pytest.mark.parametrize("written", ['(("error", "min"),)', '[("error", "min")]', '("error", "min")', '[["error", "min"]]'])
def test_objectives_may_be_pairs(open_own, task_text, written):
    task = open_own(task_text.replace('{"error": "min"}', written).replace("output_shape = ()", "output_shape = []"))
    assert (dict(task.file.objectives), task.file.output_shape) == ({"error": "min"}, ())


@pytest.mark.parametrize("written", ['("error",)', '(("error",),)', '((1, "min"),)', '"error"', '(("error", ["min"]),)', "()"])
def test_other_objectives_are_refused(open_own, task_text, written):
    with pytest.raises(TaskError, match="name what score returns"):
        open_own(task_text.replace('{"error": "min"}', written))


PLAIN = np.arange(12.0).reshape(6, 2)
LABELS = np.arange(6)


@pytest.mark.parametrize(
    ("train", "pair", "names", "parts"),
    [
        (PLAIN, (PLAIN, LABELS), [""], [6]),
        ((PLAIN, LABELS), (PLAIN, LABELS), ["(0)", "(1)"], [6]),
        (PLAIN.tolist(), (PLAIN.tolist(), LABELS.tolist()), [""], [6]),
        (tuple(map(tuple, PLAIN)), (tuple(map(tuple, PLAIN)), tuple(LABELS)), [""], [6]),
        ({"x": PLAIN.tolist(), "y": tuple(LABELS)}, [PLAIN, LABELS], ["x", "y"], [6]),
        (PLAIN, ((PLAIN, LABELS), (PLAIN[:4], LABELS[:4])), [""], [6, 4]),
        (PLAIN, [[PLAIN, LABELS], (PLAIN[:4], LABELS[:4]), (PLAIN, LABELS)], [""], [6, 4, 6]),
        (PLAIN, ((PLAIN, PLAIN, LABELS), LABELS), [""], [6]),
        (PLAIN, ({"a": PLAIN}, LABELS.tolist()), [""], [6]),
    ],
)
def test_tuples_and_lists_are_what_they_look_like(train, pair, names, parts):
    splits = Splits.read({"train": train, "validation": pair, "test": pair}, None, "task.py")
    assert [*splits.train] == names
    assert [part.rows for part in splits.parts["validation"]] == parts


@pytest.mark.parametrize(
    ("train", "pair"),
    [
        ([[1.0], [2.0, 3.0]], (PLAIN, LABELS)),
        ((PLAIN.tolist(), LABELS.tolist()), (PLAIN, LABELS)),
        (None, (PLAIN, LABELS)),
        (PLAIN, (PLAIN, None)),
        (PLAIN, (PLAIN, [[1], [2, 3], [], [], [], []])),
        (PLAIN, (PLAIN, LABELS, LABELS)),
        (PLAIN, ()),
        (PLAIN, (None, LABELS)),
        ((object(), PLAIN), (PLAIN, LABELS)),
    ],
)
def test_what_is_no_array_is_refused_in_one_sentence(train, pair):
    with pytest.raises(TaskError, match=r"of task\.py.* must be |of task\.py is empty") as refused:
        Splits.read({"train": train, "validation": pair, "test": (PLAIN, LABELS)}, None, "task.py")
    assert "\n" not in str(refused.value)


def test_a_tuple_arrives_as_a_tuple(evaluate_own, task_text):
    text = task_text.replace('"train": {"x": x[:200], "y": y[:200]}', '"train": (x[:200], y[:200])')
    text = text.replace('torch.from_numpy(train["x"]), torch.from_numpy(train["y"])', "map(torch.from_numpy, train)")
    text = text.replace("(x[200:250], y[200:250])", "((x[200:250], x[200:250]), y[200:250])")
    text = text.replace("(x[250:], y[250:])", "((x[250:], x[250:]), y[250:])")
    text = text.replace("from_numpy(inputs)", "from_numpy(inputs[1])")
    measured = evaluate_own(text=text)
    assert measured.values["error"] < 1
