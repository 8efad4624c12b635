"""What a user is told of the data before a run begins."""

from pathlib import Path

import pytest

from sandbox.data.dataset import Dataset
from sandbox.tasks.common.task import TaskTables
from sandbox.tasks.image_classification.first_look import doubts, remarks
from sandbox.tasks.image_classification.settings import ImageSettings


def data(validation=355, **changes):
    values = {
        "name": "mine", "folder": Path("x"), "num_classes": 2, "channels": 3, "height": 48, "width": 64,
        "sizes": {"train": 1082, "validation": validation, "test": 360}, "mean": (0.5,) * 3, "std": (0.2,) * 3,
        "about": "images", "class_names": ("cat", "dog"), "own_test": False,
    }  # fmt: skip
    return Dataset(**{**values, **changes})


def settings(**task):
    tables = TaskTables({"dataset": "mine", **task}, {"epochs": 1}, {}, ("model.py",), Path("cache"))
    return ImageSettings.read(tables)


def test_classes_sizes_and_missing_splits_are_told():
    (line,) = remarks(settings(), data())
    assert line == (
        "data mine: 2 classes (cat, dog); 1,082 images to train on, 355 to validate, 360 to test (set aside, since the data has "
        "none of its own); 3 x 48 x 64 pixels"
    )


def test_resized_images_and_notes_are_told():
    line, note = remarks(settings(input_size=32), data(notes=("9 images had another size",)))
    assert "3 x 32 x 32, resized from 48 x 64" in line and note == "data: 9 images had another size"


@pytest.mark.parametrize(("images", "said"), [(1, "1 image: one image is 1 of"), (12, "12 images: one image is 0.08"), (355, "")])
def test_a_small_validation_split_is_a_doubt(images, said):
    found = doubts(data(images))
    assert len(found) == bool(said) and said in "".join(found)
