import pytest

from agent.core.objectives import Constraint, Fitness, Objective

ACCURACY, PARAMETERS = Objective("accuracy", "max"), Objective("parameters", "min")
BOTH = (ACCURACY, PARAMETERS)


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
