import pytest

from agent.core.objectives import EXACT_CAP, Constraint, Fitness, Noise, Objective

ACCURACY, PARAMETERS = Objective("accuracy", "max"), Objective("parameters", "min")
BOTH = (ACCURACY, PARAMETERS)
NOISE = Noise({"accuracy": 0.01, "parameters": 0}, {"accuracy": 0.8, "parameters": 1000})


def fit(accuracy: float, parameters: float) -> Fitness:
    return Fitness({"accuracy": accuracy, "parameters": parameters})


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (fit(0.9, 10), fit(0.8, 10), True),
        (fit(0.9, 10), fit(0.9, 11), True),
        (fit(0.9, 10), fit(0.9, 10), False),
        (fit(0.9, 11), fit(0.8, 10), False),
    ],
)
def test_dominance_needs_no_loss_and_one_gain(a, b, expected):
    assert a.dominates(b, BOTH) is expected


def test_costs_turn_maximised_values_around():
    assert fit(0.9, 10).minimised(BOTH) == (-0.9, 10)


def test_better_follows_the_direction():
    assert ACCURACY.better(0.9, 0.8) and PARAMETERS.better(1, 2)


def test_broken_names_the_constraints_that_do_not_hold():
    small, exact = Constraint("parameters", "<=", 5), Constraint("accuracy", ">=", 0.9)
    unmeasured = Constraint("latency", "<", 1)
    assert fit(0.9, 10).broken([small, exact, unmeasured]) == [small]
    assert str(small) == "parameters <= 5"


def test_fitness_cannot_be_changed():
    with pytest.raises(TypeError):
        fit(0.9, 10).values["accuracy"] = 1.0


def test_the_noise_is_the_spread_of_the_seeds_trainings():
    noise = Noise.of([fit(0.7, 1000), fit(0.8, 1000), fit(0.9, 1000)], BOTH)
    assert noise.sigma["accuracy"] == pytest.approx(0.1) and noise.sigma["parameters"] == 0
    assert noise.reference["accuracy"] == pytest.approx(0.8) and noise.reference["parameters"] == 1000


@pytest.mark.parametrize("trainings", [[], [fit(0.8, 1000)]])
def test_one_training_has_no_spread(trainings):
    with pytest.raises(ValueError, match="at least two"):
        Noise.of(trainings, BOTH)


@pytest.mark.parametrize(
    ("objective", "change", "gain"),
    [
        (ACCURACY, 0.02, 2),
        (ACCURACY, -0.03, -3),
        (PARAMETERS, -100, 1),  # a tenth fewer
        (PARAMETERS, 200, -2),
        (PARAMETERS, -999, EXACT_CAP),
        (PARAMETERS, 1e9, -EXACT_CAP),
        (PARAMETERS, 0, 0),
    ],
)
def test_a_gain_is_in_units_of_the_noise_and_positive_for_the_better(objective, change, gain):
    assert NOISE.gain(objective, change) == pytest.approx(gain)


def test_a_noisy_quantity_to_be_made_small_gains_by_falling():
    latency = Objective("latency", "min")
    assert Noise({"latency": 2.0}, {"latency": 30.0}).gain(latency, -3.0) == 1.5


def test_where_the_seed_has_none_any_exact_change_is_one_unit():
    none = Noise({"parameters": 0}, {"parameters": 0})
    assert [none.gain(PARAMETERS, change) for change in (-7, 0, 7)] == [1, 0, -1]


@pytest.mark.parametrize(
    ("objective", "change", "within"),
    [
        (ACCURACY, 0.02, True),
        (ACCURACY, -0.0201, False),
        (PARAMETERS, 0, True),
        (PARAMETERS, 1, False),
    ],
)
def test_two_sigmas_are_within_the_noise_and_without_noise_only_nothing_is(objective, change, within):
    assert NOISE.within(objective, change) is within
