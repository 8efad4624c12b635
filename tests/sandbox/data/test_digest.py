"""The digest of a data set: what it notices, and that it never looks at a test label."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from sandbox.data import load


@pytest.fixture
def dataset(cache, tmp_path):
    """The digits in a folder of their own."""
    found = load("digits", cache)
    shutil.copytree(found.folder, tmp_path / "digits")
    return replace(found, folder=tmp_path / "digits")


def test_the_same_data_has_the_same_digest(dataset, cache):
    assert dataset.digest() == load("digits", cache).digest()


@pytest.mark.parametrize("file", ["train.labels.npy", "labels/validation.npy", "train.images.npy", "test.images.npy"])
def test_other_labels_and_images_are_noticed(dataset, file):
    before = dataset.digest()
    values = np.load(dataset.folder / file)
    values.flat[0] += 1
    np.save(dataset.folder / file, values)
    assert dataset.digest() != before


def test_test_labels_are_not_read(dataset):
    before = dataset.digest()
    dataset.labels("test").unlink()
    assert dataset.digest() == before
