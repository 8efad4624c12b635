"""What a search calls progress, in numbers, by its properties and against moocore."""

import math
from dataclasses import replace

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.noise import MOST, Noise
from agent.core.objectives import Constraint, Fitness, Objective
from agent.core.worth import WorthScale, dominated_volume

ACCURACY, PARAMETERS = Objective("accuracy", "max"), Objective("parameters", "min")
BOTH = (ACCURACY, PARAMETERS)
NOISE = Noise({"accuracy": 0.01, "parameters": 0}, {"accuracy": 0.8, "parameters": 1000})
SCALE = WorthScale.of(BOTH, NOISE)


def fit(accuracy, parameters=1000):
    return Fitness({"accuracy": accuracy, "parameters": parameters})


SEED = fit(0.8)


def gain(*fitnesses, scale=SCALE):
    return scale.worth([SEED, *fitnesses]) - 1


class TestWorth:
    def test_the_seed_alone_is_one_and_nothing_is_nothing(self):
        assert SCALE.worth([SEED]) == pytest.approx(1.0)
        assert SCALE.worth([]) == 0.0

    def test_two_sigmas_and_twenty_percent_fewer_parameters_weigh_alike(self):
        assert gain(fit(0.82)) == pytest.approx(0.2)
        assert gain(fit(0.8, 800)) == pytest.approx(0.234, abs=0.001)

    def test_it_is_the_measure_of_the_published_comparison(self):
        """Accuracy in sigmas, parameters in steps of 10 %, from ten units below the seed, divided by a hundred."""
        points = [fit(0.85, 900), fit(0.82, 500), fit(0.79, 100)]
        units = [((p["accuracy"] - 0.8) / 0.01, math.log(1000 / p["parameters"]) / math.log(1.1)) for p in [SEED, *points]]
        volume = moocore.hypervolume(-np.array(units), ref=[10, 10])
        assert SCALE.worth([SEED, *points]) == pytest.approx(volume / 100)

    def test_always_answering_one_class_with_ten_parameters_is_no_progress(self):
        assert gain(fit(0.1, 10)) == 0.0

    @given(st.lists(st.tuples(st.floats(0.5, 1), st.integers(1, 5000)), max_size=12))
    def test_more_points_are_never_worth_less(self, values):
        fitnesses = [fit(a, p) for a, p in values]
        assert SCALE.worth(fitnesses) >= SCALE.worth(fitnesses[:-1]) - 1e-9

    @given(st.lists(st.tuples(st.floats(0.5, 1), st.integers(1, 5000)), max_size=12), st.randoms())
    def test_dominated_points_and_the_order_change_nothing(self, values, chance):
        fitnesses = [fit(a, p) for a, p in values]
        shuffled = [*fitnesses, *(fit(f["accuracy"] - 0.001, f["parameters"] + 1) for f in fitnesses)]
        chance.shuffle(shuffled)
        assert SCALE.worth(shuffled) == pytest.approx(SCALE.worth(fitnesses))


class TestReferencePoint:
    def test_a_nearer_constraint_is_the_worst_acceptable_value(self):
        scale = WorthScale.of(BOTH, NOISE, bounds=[Constraint("accuracy", ">=", 0.75), Constraint("parameters", "<=", 10**6)])
        assert [axis.distance for axis in scale.axes] == [pytest.approx(5.0), 10.0]
        assert scale.worth([SEED]) == pytest.approx(1.0) and gain(fit(0.74, 1), scale=scale) == 0

    def test_a_bound_on_the_other_side_says_nothing(self):
        assert WorthScale.of(BOTH, NOISE, bounds=[Constraint("accuracy", "<=", 0.81)]) == SCALE

    def test_the_users_reference_counts_however_far_it_is(self):
        scale = WorthScale.of(BOTH, NOISE, reference={"accuracy": 0.5})
        assert scale.axes[0].distance == pytest.approx(30)

    def test_a_seed_at_its_own_bound_has_some_worth(self):
        scale = WorthScale.of(BOTH, NOISE, bounds=[Constraint("parameters", "<=", 1000)])
        assert scale.axes[1].distance == 1.0 and scale.worth([SEED]) == pytest.approx(1.0)


class TestUnits:
    def test_without_measured_noise_accuracy_counts_by_its_error_on_a_log_scale(self):
        scale = WorthScale.of(BOTH, Noise.unmeasured(fit(0.9), BOTH))
        assert scale.units(fit(0.91))[0] == pytest.approx(math.log(0.1 / 0.09) / math.log(1.1))
        assert scale.units(fit(1.0))[0] == MOST and scale.worth([fit(1.0)]) > 1

    def test_what_is_zero_at_the_seed_changes_by_one_unit(self):
        scale = WorthScale.of([PARAMETERS], Noise({"parameters": 0}, {"parameters": 0}))
        assert [scale.units(Fitness({"parameters": value})) for value in (-3, 0, 3)] == [(1.0,), (0.0,), (-1.0,)]

    def test_it_comes_back_from_json(self):
        assert WorthScale.from_json(SCALE.to_json()) == SCALE


@given(st.lists(st.tuples(*[st.floats(0.01, 10)] * 3), min_size=1, max_size=8))
def test_a_third_coordinate_that_is_the_same_for_all_multiplies_the_volume(points):
    flat = [(x, y) for x, y, _ in points]
    assert dominated_volume([(x, y, 2.0) for x, y in flat]) == pytest.approx(2 * dominated_volume(flat))
    assert dominated_volume([(x,) for x, _ in flat]) == max(x for x, _ in flat)

    @pytest.mark.parametrize("origin", [-2.0, 0.0, 5e-324, 0.5, 1e30])
    @pytest.mark.parametrize("sigma", [0.0, 5e-324, 0.01])
    @pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, -5e-324, 0.0, 1e-200, 7e199])
    def test_no_value_makes_a_worth_or_a_gain_that_is_not_finite(self, origin, sigma, value):
        for objective in (Objective("loss", "min"), Objective("loss", "max"), Objective("accuracy", "max")):
            name = objective.name
            noise = Noise({name: sigma}, {name: origin})
            scale = WorthScale.of([objective, replace(objective, name="other")], joined(noise, "other"))
            strange = Fitness({name: value, "other": value})
            assert all(abs(units) <= MOST for units in scale.units(strange))
            assert 0 <= scale.worth([strange]) < math.inf
            assert abs(noise.gain(objective, value - origin)) <= MOST
            assert abs(noise.gain(objective, origin - value, value)) <= MOST


def joined(noise, name):
    """The noise of the one objective, the same for another one."""
    ((sigma,), (reference,)) = noise.sigma.values(), noise.reference.values()
    return Noise({**noise.sigma, name: sigma}, {**noise.reference, name: reference})
