import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sandbox import data
from sandbox.data import SPLITS, Dataset, Secret, load
from sandbox.isolation import landlock, levels
from sandbox.launch.client import ForkServerSandbox
from sandbox.sandbox import TaskError
from sandbox.tasks import open_task
from sandbox.tasks.common.job import Job, Measured

ROOT = Path(data.__file__).parents[2]

# Every result ever measured stands on these: another number here means other splits, and the number in the key must change.
SPLIT_HASHES = {
    "train": "cec605e9392b9c7cc609ac8c76327177",
    "validation": "6626bff5fa44fe2657b3d512a636aa69",
    "test": "2479e8a039b5cd7888b868e40d6f764e",
}
"""Of the rows of each split with their labels, sorted: in which order they are stored differs from secret to secret."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def digits(cache):
    return load("digits", cache)


def rows(dataset: Dataset, split):
    """Images with their labels, as a set of bytes."""
    images, labels = np.load(dataset.images(split)), np.load(dataset.labels(split))
    return [image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True)]


def test_the_facts_of_the_digits(digits):
    assert (digits.num_classes, digits.channels, digits.height, digits.width) == (10, 1, 8, 8)
    assert dict(digits.sizes) == {"train": 1087, "validation": 355, "test": 355}
    images = np.load(digits.images("train"))
    assert images.dtype == np.uint8
    assert images.shape == (1087, 1, 8, 8)
    assert images.max() == 255
    assert digits.mean == pytest.approx(((images / 255).mean(),), abs=1e-4)
    assert digits.std == pytest.approx(((images / 255).std(),), abs=1e-4)
    assert digits.labels("train").name == "train.labels.npy"


def test_splits_are_disjoint_and_make_up_the_whole(digits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = (bunch.images * (255 / 16)).round().astype("uint8")
    expected = sorted(image.tobytes() + bytes([label]) for image, label in zip(whole, bunch.target, strict=True))
    assert len(set(expected)) == len(expected)  # no image is there twice, so that sets can tell the splits apart
    found = {split: rows(digits, split) for split in SPLITS}
    assert sorted(row for part in found.values() for row in part) == expected
    assert not set(found["train"]) & set(found["validation"])
    assert not set(found["train"]) & set(found["test"])
    assert not set(found["validation"]) & set(found["test"])


def test_splits_hold_a_fifth_of_every_class(digits):
    counts = {split: np.bincount(np.load(digits.labels(split)), minlength=10) for split in SPLITS}
    total = sum(counts.values())
    assert (counts["validation"] == total // 5).all()
    assert (counts["test"] == total // 5).all()


def test_splits_are_shuffled(digits):
    labels = digits.targets("train")
    assert (np.diff(labels) != 0).mean() > 0.8


def labels_of(data, split):
    return data.sealed_targets() if split == "test" else data.targets(split)


@pytest.mark.parametrize("split", SPLITS)
def test_splits_never_change(digits, split):
    assert hashlib.sha256(b"".join(sorted(rows(digits, split)))).hexdigest()[:32] == SPLIT_HASHES[split]


@pytest.mark.parametrize("split", SPLITS)
def test_rows_are_stored_in_an_order_that_no_constant_tells(digits, split, tmp_path):
    other, again = load("digits", tmp_path), load("digits", tmp_path)
    assert other.folder == again.folder
    assert sorted(rows(other, split)) == sorted(rows(digits, split))
    same = sum(a == b for a, b in zip(rows(other, split), rows(digits, split), strict=True))
    assert same < 12  # by chance it is one
    kept = load("digits", tmp_path, Secret((digits.folder.parent / "secret").read_text()))
    assert rows(kept, split) == rows(digits, split)


def test_a_second_load_reads_what_is_there(digits, cache):
    stamps = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert load("digits", cache) == digits
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == stamps


def secret_name(cache):
    return f"digits-v2-{Secret((cache / 'secret').read_text()).fingerprint}"


def test_several_processes_may_fill_one_cache_at_once(tmp_path):
    # All start to write before the first has finished: each waits for the others after its images are read.
    program = """
import sys, time
from pathlib import Path
from sandbox import data

cache, me, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
from sandbox.data import embedded


class Slow(embedded.Digits):
    def images(self, part):
        found = super().images(part)
        (cache / f"ready{me}").touch()
        while len(list(cache.glob("ready*"))) < count:
            time.sleep(0.01)
        return found

    def sample(self):
        return super().images("train")


embedded.Digits = Slow
print(data.load("digits", cache).sizes["test"])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(i), "4"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, code in ended] == [0] * 4, ended
    assert [out.strip() for (out, _), _ in ended] == ["355"] * 4
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("ready")) == [secret_name(tmp_path), "secret"]
    assert len(rows(load("digits", tmp_path), "test")) == 355


def test_a_load_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(OSError, match="No space left"):
        load("digits", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_an_unknown_data_set_is_the_users_mistake(tmp_path):
    with pytest.raises(TaskError, match=r"there is no data set 'mnist'; known: digits; or a hub id"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["../digits", "", "digits/..", "digits-v1"])
def test_a_name_cannot_be_a_path(name, tmp_path):
    with pytest.raises(TaskError):
        load(name, tmp_path)


def test_a_cache_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")  # a mode would not stop root
    with pytest.raises(OSError):
        load("digits", tmp_path / "file" / "cache")


class Spy:
    """Passes calls on to a sandbox and keeps what it was given."""

    def __init__(self, sandbox):
        self.level, self.run_it = sandbox.level, sandbox.run
        self.calls, self.bytes = [], []

    def run(self, call, watch=None):
        self.calls.append(call)
        self.bytes.append(b"".join(path.read_bytes() for path in call.inputs.values()))
        return self.run_it(call, watch)

    def close(self):
        """The fixture closes the sandbox."""


@pytest.fixture(scope="module")
def spied(cache):
    sandbox = ForkServerSandbox("contained" if landlock.abi() else "none")
    spy = Spy(sandbox)
    source = (ROOT / "seeds/tiny_cnn/model.py").read_text()
    task = open_task({"dataset": "digits"}, {"epochs": 1}, {}, ("model.py",), cache)
    for test_too in (False, True):
        assert isinstance(task.evaluate(Job({"model.py": source}, 0, test_too=test_too), spy), Measured)
    sandbox.close()
    return spy


def test_the_only_labels_that_enter_a_sandbox_are_those_of_training(spied, digits):
    given = [(call.entry.partition(":")[2], sorted(call.inputs)) for call in spied.calls]
    prediction = ("predict", ["images", "weights"])
    first = [("smoke", []), ("fit", ["images", "labels"]), *[prediction] * 4]
    # Before the first judgement of a task's trainings: what a prediction costs without a model.
    assert given == [*first, prediction, *first, *[prediction] * 3]
    files = {path for call in spied.calls for path in call.inputs.values() if path.is_relative_to(digits.folder)}
    assert files == {digits.images("train"), digits.labels("train")}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_input_holds_the_labels_in_any_common_form(split, spied, digits):
    labels = labels_of(digits, split)
    shapes = [labels, np.eye(10)[labels]]
    forms = [a.astype(kind)[50:90].tobytes() for a in shapes for kind in ("<i8", "<i4", "u1", "<f4", "<f8")]
    train = np.load(digits.labels("train"))[50:90].tobytes()
    assert any(train in given for given in spied.bytes)  # this way of looking does find labels
    assert not [form for form in forms if any(form in given for given in spied.bytes)]


def test_images_of_the_test_split_reach_no_candidate_that_is_measured_on_validation(spied, digits):
    images = np.load(digits.images("test"))
    assert any(images[7].tobytes() in given for given in spied.bytes[13:])
    assert not any(image.tobytes() in given for given in spied.bytes[:13] for image in images)


def test_the_labels_of_the_test_split_are_not_to_be_had_by_the_usual_way(digits):
    with pytest.raises(ValueError, match="sealed"):
        digits.targets("test")
    assert len(digits.sealed_targets()) == 355


def test_no_option_or_text_of_a_call_holds_labels(spied, digits):
    for call in spied.calls:
        assert all(not isinstance(v, list) or len(v) <= 3 for v in call.options.values())
        assert call.sources.keys() == {"model.py"}


def test_published_copies_of_the_data_lie_outside_of_what_a_sandbox_may_read():
    import sklearn.datasets

    copy = Path(sklearn.datasets.__path__[0], "data", "digits.csv.gz").resolve()
    assert copy.is_file()
    assert any(copy.is_relative_to(hidden) for hidden in levels.hidden_paths())
    whole, listed = levels.readable_around()
    code = Path(sklearn.datasets.__file__).resolve()
    opened = levels.opened_packages({"sklearn"})  # as for a seed that imports it
    assert any(code.is_relative_to(path) for path in opened), "what makes data by rules holds no labels"
    assert not any(copy.is_relative_to(path) for path in opened)
    assert not any(copy.is_relative_to(path) for path in whole)
    assert not any(Path(path) in [Path(h) for h in levels.hidden_paths()] for path in listed)


def test_data_that_lies_in_what_a_sandbox_may_read_is_closed_to_it(tmp_path, monkeypatch):
    for name in ("libraries", "images"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(levels, "readable_paths", lambda: [str(tmp_path)])
    monkeypatch.setattr(levels, "_concealed", set())
    with pytest.raises(TaskError):  # there is nothing in it; it is closed all the same
        load(str(tmp_path / "images"), tmp_path / "cache")
    assert str(tmp_path / "images") in levels.hidden_paths()
    levels._around.cache_clear()
    whole, _ = levels.readable_around()
    assert whole == [str(tmp_path / "libraries")]
    levels._around.cache_clear()


def test_what_training_needs_is_readable_all_the_same():
    import torch

    whole, listed = levels.readable_around()
    for module in (torch, np, hashlib):
        path = Path(module.__file__).resolve()
        assert any(path.is_relative_to(p) for p in whole)
    assert set(map(str, Path(np.__file__).resolve().parents[1:2])) <= {*whole, *listed}  # imports list this folder
