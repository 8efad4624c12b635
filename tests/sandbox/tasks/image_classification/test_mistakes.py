"""The commonest mistakes of a candidate, counted from classes."""

import numpy as np
import pytest

from sandbox.tasks.image_classification.mistakes import MOST, mistakes

NAMES = ("Shirt", "Coat", "Bag")


@pytest.mark.parametrize(
    ("predicted", "names", "expected"),
    [
        ([0, 0, 0, 1, 1, 2], NAMES, ()),
        ([1, 1, 0, 0, 1, 2], NAMES, (("Shirt as Coat", 2), ("all", 3))),
        ([1, 1, 0, 0, 0, 2], NAMES, (("Shirt as Coat", 2), ("Coat as Shirt", 2), ("all", 4))),
        ([1, 1, 0, 1, 1, 2], (), (("0 as 1", 2), ("all", 2))),
        ([2, 1, 0, 1, 1, 2], NAMES, (("all", 2),)),  # each once: chance
    ],
)
def test_kinds_are_counted_the_largest_first(predicted, names, expected):
    assert mistakes(np.array([0, 0, 0, 1, 1, 2]), np.array(predicted), names) == expected


def test_of_many_kinds_the_most_frequent_are_told_and_all_mistakes_are_counted():
    targets, predicted = np.repeat(np.arange(10), 100), np.random.default_rng(0).integers(0, 10, 1000)
    *kinds, (last, total) = mistakes(targets, predicted, [f"class {n}" for n in range(10)])
    assert len(kinds) <= MOST and last == "all" and total == int((targets != predicted).sum())
    for kind, count in kinds:
        true, said = (int(part.removeprefix("class ")) for part in kind.split(" as "))
        assert count == int(((targets == true) & (predicted == said)).sum())
    assert [count for _, count in kinds] == sorted((count for _, count in kinds), reverse=True)
