import pytest

from agent.core.running_mean import RunningMean


def test_until_the_first_value_it_is_where_it_starts():
    mean = RunningMean(0.2, start=7.0)
    assert (mean.value, mean.known, mean.upper) == (7.0, False, 7.0)
    mean.add(3.0)
    assert (mean.value, mean.known, mean.upper) == (3.0, True, 3.0)


def test_the_first_values_count_alike():
    mean = RunningMean(0.2)
    for value in (1.0, 2.0, 6.0):
        mean.add(value)
    assert mean.value == pytest.approx(3.0)


def test_later_a_value_has_its_weight_and_old_ones_are_forgotten():
    mean = RunningMean(0.2)
    for _ in range(100):
        mean.add(10.0)
    mean.add(20.0)
    assert mean.value == pytest.approx(12.0)
    for _ in range(100):
        mean.add(1.0)
    assert mean.value == pytest.approx(1.0)


def test_nearly_all_values_are_below_the_upper_end():
    mean = RunningMean(0.05)
    values = [10.0, 14.0] * 50
    for value in values:
        mean.add(value)
    assert mean.value == pytest.approx(12.0, abs=0.2)
    assert mean.upper == pytest.approx(16.0, abs=0.5)
