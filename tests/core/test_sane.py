"""Which values of a metric can be used: whatever they are compared with, nothing that is computed of them overflows."""

import math
import statistics

import pytest

from agent.core.objectives import Fitness
from agent.core.sane import LARGEST, SMALLEST, out_of_range


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, -3e-310, 1e31, math.inf, -math.inf, math.nan])
def test_some_values_are_out_of_range_whatever_the_seed_has(value):
    for seed in ({}, {"loss": 0.0}, {"loss": 0.5}, {"loss": -1e29}, {"loss": 1e-29}):
        assert out_of_range({"size": 3.0, "loss": value}, seed).startswith("loss is ")


@pytest.mark.parametrize(("seed", "value"), [(0.5, 1e12), (0.5, -1e10), (1e6, 1e16), (1e-12, 2e9), (0.0, 1e10)])
def test_others_are_out_of_range_of_the_seeds(seed, value):
    reason = out_of_range({"loss": value}, {"loss": seed})
    assert f"loss is {value:g}, where the seed has {seed:g}" in reason and out_of_range({"loss": value}) == ""


@pytest.mark.parametrize(
    ("seed", "value"), [(2.3, 1e4), (2.3, 1e-32), (2.3, -40.0), (0.9, 0.0), (0.0, 1e5), (3e5, 12.0), (1e-7, 2e3)]
)
def test_what_a_change_can_do_is_in_range(seed, value):
    assert out_of_range({"loss": value}, {"loss": seed}) == ""


def test_of_what_is_in_range_means_and_spreads_are_finite():
    for value in (LARGEST, -LARGEST, SMALLEST):
        assert math.isfinite(Fitness.mean([Fitness({"x": value}), Fitness({"x": value / 3})])["x"])
        assert math.isfinite(statistics.variance([value, value / 3, -value]))
