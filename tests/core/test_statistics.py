"""The statistics of a run against scipy's own, against simulation, and against their definitions."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agent.core.statistics import (
    Spread,
    band,
    best_by_luck,
    holm,
    no_worse,
    p_value,
    pooled_spread,
    smallest_gain,
    trainings_needed,
    welch,
)

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


class TestSpread:
    @given(st.lists(VALUES, min_size=1, max_size=5))
    def test_pooling_is_the_root_of_the_mean_square_within_groups(self, samples):
        spread = pooled_spread(samples)
        within = sum(((np.array(s) - np.mean(s)) ** 2).sum() for s in samples)
        df = sum(len(s) - 1 for s in samples)
        assert spread.df == df
        assert spread.sigma == pytest.approx(math.sqrt(within / df), abs=1e-9)

    def test_sources_that_were_trained_once_say_nothing_of_the_spread(self):
        assert pooled_spread([[1.0], [5.0]]) is None
        assert pooled_spread([[1.0], [1.0, 3.0]]) == Spread(math.sqrt(2), 1)

    def test_means_of_the_sources_do_not_count_as_spread(self):
        near = pooled_spread([[0.0, 1.0], [0.0, 1.0]])
        assert pooled_spread([[0.0, 1.0], [100.0, 101.0]]) == near


class TestBand:
    def test_it_is_students_law_for_a_difference_of_two_means(self):
        four = Spread(1.0, 3)
        assert band(four) == pytest.approx(4.50, abs=0.01)
        assert band(four, 1, 4) == pytest.approx(3.56, abs=0.01)
        assert band(Spread(2.0, 10**6), 1, 1) == pytest.approx(2 * 1.96 * math.sqrt(2), rel=1e-3)

    @pytest.mark.parametrize(("n", "m", "df"), [(1, 1, 3), (1, 4, 3), (3, 5, 6), (2, 2, 12)])
    def test_changes_that_do_nothing_leave_it_in_one_of_twenty(self, n, m, df):
        rng = np.random.default_rng(0)
        runs = 40_000
        sigma = np.sqrt(rng.chisquare(df, runs) / df)
        change = rng.normal(size=(runs, n)).mean(axis=1) - rng.normal(size=(runs, m)).mean(axis=1)
        outside = np.abs(change) > np.array([band(Spread(s, df), n, m) for s in sigma])
        assert outside.mean() == pytest.approx(0.05, abs=0.005)

    @given(st.floats(0.01, 5), st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))
    def test_a_change_as_large_as_the_band_has_a_p_value_of_one_in_twenty(self, sigma, df, n, m):
        spread = Spread(sigma, df)
        assert p_value(band(spread, n, m), spread, n, m) == pytest.approx(0.05, abs=1e-6)

    def test_without_spread_any_change_is_certain_and_none_is_none(self):
        assert p_value(0.0, Spread(0.0, 3)) == 1.0 and p_value(1e-9, Spread(0.0, 3)) == 0.0
        assert band(Spread(0.0, 3)) == 0.0


class TestTrainingsNeeded:
    def test_none_more_for_what_stands_out_and_never_for_what_is_nothing(self):
        assert trainings_needed(5.0, Spread(1.0, 3)) == 0
        assert trainings_needed(0.1, Spread(1.0, 3)) is None

    @given(st.floats(0.5, 6), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5))
    def test_so_many_are_enough_and_one_less_is_not(self, change, df, n, m):
        spread = Spread(1.0, df)
        more = trainings_needed(change, spread, n, m)
        if more is None:
            assert change <= band(Spread(1.0, df + 40), n + 20, m + 20)
            return
        assert change > band(Spread(1.0, df + 2 * more), n + more, m + more)
        assert more == 0 or change <= band(Spread(1.0, df + 2 * more - 2), n + more - 1, m + more - 1)


def test_the_smallest_gain_is_found_four_times_in_five():
    rng = np.random.default_rng(1)
    runs, df, m = 40_000, 3, 4
    sigma = np.sqrt(rng.chisquare(df, runs) / df)
    gain = smallest_gain(Spread(1.0, 10**6), m)
    change = gain + rng.normal(size=runs) - rng.normal(size=(runs, m)).mean(axis=1)
    wide = np.array([band(Spread(1.0, 10**6), 1, m)] * runs)
    assert (change > wide).mean() == pytest.approx(0.8, abs=0.01)
    assert smallest_gain(Spread(1.0, df), m) > gain and sigma.mean() > 0


class TestLuck:
    def test_the_best_of_many_that_do_nothing_lies_far_above_the_seed(self):
        assert best_by_luck(272, 3, 4) == pytest.approx(3.1, abs=0.15)
        assert best_by_luck(272, 3, 4, 0.9) == pytest.approx(6.3, abs=0.4)

    @pytest.mark.parametrize(("count", "df", "m"), [(1, 3, 4), (40, 3, 4), (40, 12, 4)])
    def test_it_is_the_median_of_simulated_runs(self, count, df, m):
        rng = np.random.default_rng(2)
        runs = 20_000
        sigma = np.sqrt(rng.chisquare(df, runs) / df)
        mean = rng.normal(size=(runs, m)).mean(axis=1)
        best = (rng.normal(size=(runs, count)).max(axis=1) - mean) / sigma
        assert best_by_luck(count, df, m) == pytest.approx(np.median(best), abs=0.06)

    def test_it_grows_with_the_candidates_and_needs_one(self):
        assert best_by_luck(10, 3, 4) < best_by_luck(100, 3, 4)
        with pytest.raises(ValueError):
            best_by_luck(0, 3, 4)


class TestWelch:
    @given(VALUES, VALUES)
    def test_it_is_scipys(self, a, b):
        found = welch(a, b)
        assert found.value == pytest.approx(statistics.fmean(a) - statistics.fmean(b), abs=1e-9)
        if np.var(a) + np.var(b) > 1e-12:
            reference = stats.ttest_ind(a, b, equal_var=False)
            assert found.p == pytest.approx(reference.pvalue, nan_ok=True)
            assert found.low <= found.value <= found.high

    def test_what_never_varies_is_compared_as_it_is(self):
        assert welch([3, 3], [3, 3]).p == 1.0
        assert welch([2, 2], [3, 3]) == welch([2, 2, 2], [3, 3])
        assert welch([2, 2], [3, 3]).p == 0.0

    def test_one_value_is_not_enough(self):
        with pytest.raises(ValueError):
            welch([1.0], [1.0, 2.0])


class TestNoWorse:
    def test_equal_means_are_no_worse_within_a_wide_margin_and_not_within_none(self):
        a, b = [0.50, 0.51, 0.49, 0.50, 0.50], [0.50, 0.49, 0.51, 0.50, 0.50]
        assert no_worse(a, b, 0.05, larger_is_better=True) < 0.001
        assert no_worse(a, b, 0.0, larger_is_better=True) == pytest.approx(0.5, abs=0.01)

    def test_the_direction_is_that_of_the_objective(self):
        low, high = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9]
        assert no_worse(low, high, 0.1, larger_is_better=False) < 0.01
        assert no_worse(low, high, 0.1, larger_is_better=True) > 0.99
        assert no_worse([5, 5], [5, 5], 1, larger_is_better=False) == 0.0
        assert no_worse([7, 7], [5, 5], 1, larger_is_better=False) == 1.0


class TestHolm:
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_it_rejects_what_the_step_down_procedure_rejects(self, p_values):
        """Sorted ascending, reject while p(i) <= alpha / (m - i); adjusted values say the same for every alpha."""
        adjusted = holm(p_values)
        for alpha in (0.01, 0.05, 0.2):
            rejected, ordered = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
            for rank, index in enumerate(ordered):
                if p_values[index] * (len(p_values) - rank) > alpha:
                    break
                rejected.add(index)
            assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected

    def test_a_single_one_stays_and_the_smallest_counts_for_all(self):
        assert holm([0.03]) == [0.03]
        assert holm([0.04, 0.01, 0.03]) == [pytest.approx(0.06), pytest.approx(0.03), pytest.approx(0.06)]
