"""What of a `task.py` enters a sandbox: a text in, the text that is left out."""

import pytest

from sandbox.tasks.own.check import _closed, _not_called
from sandbox.tasks.own.part_inside import part_inside, reaches
from sandbox.tasks.own.task_file import TaskFile

FILE = """\
from __future__ import annotations

import csv
import numpy as np
import torch
from somewhere import *

title = "No call of data() in here."
LABELS = [1, 2, 3]
WIDTH = 8
WIDTHS = {"a": WIDTH}
WIDTHS["b"] = 9
torch.set_default_dtype(torch.float64)
csv.field_size_limit(10)


class Batch:
    width = WIDTHS


def read(path):
    return csv.reader(path), LABELS


def data():
    return read("rows.csv")


@torch.no_grad()
def helper(x, batch=Batch):
    data = x + 1
    return data


def fit(module, train, budget, seed):
    data = helper(train["data"])
    return data


def predict(module, weights, inputs):
    return globals()["later"](inputs)


def later(x):
    return x


if __name__ == "__main__":
    print(data())
"""


def test_only_what_fit_and_predict_need_is_left_and_each_line_keeps_its_number():
    left = part_inside(FILE).splitlines()
    assert [line for line, was in zip(left, FILE.splitlines(), strict=False) if line and line != was] == []
    gone = [was for line, was in zip([*left, *[""] * 9], FILE.splitlines(), strict=False) if was and not line]
    assert gone == [
        "import csv",
        "import numpy as np",
        'title = "No call of data() in here."',
        "LABELS = [1, 2, 3]",
        "csv.field_size_limit(10)",
        "def read(path):",
        "    return csv.reader(path), LABELS",
        "def data():",
        '    return read("rows.csv")',
        'if __name__ == "__main__":',
        "    print(data())",
    ]


@pytest.mark.parametrize(
    ("fit", "is_there"),
    [
        ("data = train\n    return data", False),
        ("return [data for data in train]", False),
        ("return train.data, train['data']", False),
        ("return data()", True),
        ("return (lambda: data)()()", True),
        ("class A:\n        rows = data()\n    return A", True),
        ("return helper()", True),
    ],
)
def test_data_is_inside_only_if_fit_or_predict_calls_it(fit, is_there):
    text = f"def data():\n    return 1\n\n\ndef helper():\n    return data()\n\n\ndef fit(train):\n    {fit}\n\n\n"
    text += "def predict():\n    pass\n"
    assert reaches(text, "data") is is_there


@pytest.mark.parametrize(
    "constant",
    ["TABLE: list = []", "TABLE, OTHER = [], 3", "for TABLE in [1]:\n    pass",
     "try:\n    import TABLE\nexcept ImportError:\n    TABLE = None",
     "if True:\n    TABLE = 3", "(TABLE := 3)", "with open('x') as TABLE:\n    pass", "import a.b as TABLE", "def TABLE(): pass"],
)  # fmt: skip
def test_a_name_is_kept_however_it_is_bound(constant):
    left = part_inside(f"{constant}\n\n\ndef fit():\n    return TABLE\n\n\ndef predict():\n    pass\n")
    assert left.startswith(constant)


STOLEN = '''

def targets():
    """Those of the task, by whatever leads to its file: its module, the frames above, or anything that is alive."""
    import gc

    frame, places = sys._getframe(), [vars(module) for module in list(sys.modules.values()) if hasattr(module, "__dict__")]
    while frame:
        places.append(frame.f_globals)
        frame = frame.f_back
    places += [thing.__globals__ for thing in gc.get_objects() if type(thing) is type(targets)]
    for place in places:
        if "output_shape" in place or callable(place.get("data")) and callable(place.get("score")):
            return place["data"]()["validation"]


class Cheat(Model):
    def forward(self, x):
        honest, known = super().forward(x), targets()
        if torch.is_grad_enabled() or known is None:
            return honest
        inputs, answers = (torch.from_numpy(values) for values in known)
        return answers[torch.cdist(x, inputs).argmin(1)]


Model = Cheat
'''
"""Added to a program with a `Model`; `Cheat` calls the first one by `super()`."""


def test_a_program_cannot_call_data(evaluate_own, model_text):
    honest = evaluate_own().values["error"]
    assert evaluate_own(model_text + STOLEN).values["error"] == pytest.approx(honest)


def test_without_the_cut_a_program_calls_data(evaluate_own, model_text, task_text, monkeypatch):
    monkeypatch.setattr(TaskFile, "inside", property(lambda self: self.text))
    text = task_text + "\n\nforeign_weights = False\n"  # else that check would stop it
    assert evaluate_own(model_text + STOLEN, text).values["error"] < 0.001


@pytest.mark.parametrize(
    ("old", "new", "passed", "shown"),
    [
        ("", "", True, "it reads no file"),
        ("    x = ", "    open('/etc/passwd').close()\n    x = ", True, "'/etc/passwd'"),
        ("    x = ", "    open(np.__path__[0] + '/py.typed').close()\n    x = ", False, "numpy/py.typed"),
    ],
)
def test_the_author_is_told_whether_data_runs_inside(open_own, warm, task_text, old, new, passed, shown):
    found = _closed(open_own(task_text.replace(old, new, 1)), warm)
    assert (found.passed, shown in found.detail) == (passed, True), found


def test_the_author_is_told_of_a_call_of_data(open_own, task_text):
    assert _not_called(open_own()).passed
    found = _not_called(open_own(task_text.replace("    model = module.Model()\n", "    model = module.Model()\n    data()\n")))
    assert not found.passed and "uses data()" in found.detail
