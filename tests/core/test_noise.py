"""Units of change, and what may be said of a difference between two measurements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from agent.core.noise import Judgement, Noise, amount
from agent.core.objectives import Fitness, Objective

ACCURACY, PARAMETERS = Objective("accuracy", "max"), Objective("parameters", "min")
BOTH = (ACCURACY, PARAMETERS)
NOISE = Noise({"accuracy": 0.01, "parameters": 0}, {"accuracy": 0.8, "parameters": 1000})


def fit(accuracy: float, parameters: float = 1000) -> Fitness:
    return Fitness({"accuracy": accuracy, "parameters": parameters})


def test_the_noise_is_the_spread_of_the_seeds_trainings():
    noise = Noise.of([fit(0.7), fit(0.8), fit(0.9)], BOTH)
    assert noise.sigma["accuracy"] == pytest.approx(0.1) and noise.sigma["parameters"] == 0
    assert noise.reference["accuracy"] == pytest.approx(0.8) and noise.reference["parameters"] == 1000
    assert (noise.df, noise.trainings) == (2, 3)


def test_every_source_that_was_trained_more_than_once_sharpens_sigma_and_not_the_seeds_mean():
    seed = [fit(0.8), fit(0.82)]
    noise = Noise.of(seed, BOTH, others=[[fit(0.9), fit(0.92), fit(0.94)], [fit(0.5)]])
    assert noise.df == 1 + 2 and noise.reference["accuracy"] == pytest.approx(0.81)
    assert noise.sigma["accuracy"] == pytest.approx(np.sqrt((0.0002 + 0.0008) / 3))


@pytest.mark.parametrize("trainings", [[], [fit(0.8)]])
def test_one_training_has_no_spread(trainings):
    with pytest.raises(ValueError, match="at least two"):
        Noise.of(trainings, BOTH)


@pytest.mark.parametrize(
    ("objective", "change", "before", "gain"),
    [
        (ACCURACY, 0.02, None, 2),
        (ACCURACY, -0.03, None, -3),
        (PARAMETERS, 100, None, -1),  # 10 % more
        (PARAMETERS, -200, None, 2.341),
        (PARAMETERS, -500, 1000, 7.273),
        (PARAMETERS, -50, 100, 7.273),  # half of what the parent had, whatever the seed has
        (PARAMETERS, 0, None, 0),
    ],
)
def test_a_gain_is_in_sigmas_or_steps_of_ten_percent_and_positive_for_the_better(objective, change, before, gain):
    assert NOISE.gain(objective, change, before) == pytest.approx(gain, abs=0.001)


def test_two_sigmas_and_twenty_percent_fewer_parameters_weigh_alike():
    assert NOISE.gain(ACCURACY, 0.02) == pytest.approx(NOISE.gain(PARAMETERS, -200), rel=0.2)


def test_a_noisy_quantity_to_be_made_small_gains_by_falling():
    latency = Objective("latency", "min")
    assert Noise({"latency": 2.0}, {"latency": 30.0}).gain(latency, -3.0) == 1.5


def test_where_the_seed_has_none_any_exact_change_is_one_unit():
    none = Noise({"parameters": 0}, {"parameters": 0})
    assert [none.gain(PARAMETERS, change) for change in (-7, 0, 7)] == [1, 0, -1]


class TestJudgement:
    @pytest.mark.parametrize(
        ("change", "against", "word"),
        [
            (0.0449, 1, "undecided"),
            (0.0451, 1, "likely real"),  # 4.5 sigmas against one training
            (-0.0357, 4, "likely real"),  # 3.6 against the seed's mean of four
            (0.0355, 4, "undecided"),
            (0.001, 4, "within noise"),
            (0.0, 4, "within noise"),
        ],
    )
    def test_of_two_trainings_with_a_sigma_from_four(self, change, against, word):
        assert NOISE.judge(ACCURACY, change, against=against).word == word

    def test_undecided_says_how_many_more_trainings_would_settle_it(self):
        judgement = NOISE.judge(ACCURACY, 0.02, against=4)
        assert str(judgement) == f"undecided (needs {judgement.more} more trainings)" and judgement.more > 1
        assert NOISE.judge(ACCURACY, 0.02, trainings=1 + judgement.more, against=4 + judgement.more).more < judgement.more
        assert str(Judgement("undecided", 1)) == "undecided (needs 1 more training)"

    @pytest.mark.parametrize(("change", "real"), [(-20, True), (-19, False), (0, False), (25, True)])
    def test_without_noise_a_change_of_two_percent_is_real_and_a_smaller_one_is_none(self, change, real):
        assert NOISE.is_real(PARAMETERS, change) is real

    def test_changes_that_do_nothing_are_called_real_in_one_case_of_twenty(self):
        """The whole path from trainings of the seed to the word, simulated."""
        rng = np.random.default_rng(0)
        wrong = 0
        for _ in range(4000):
            seed = [fit(value) for value in rng.normal(0.8, 0.01, 4)]
            noise = Noise.of(seed, BOTH)
            child, parent = rng.normal(0.8, 0.01, 2)
            wrong += noise.is_real(ACCURACY, child - parent)
        assert wrong / 4000 == pytest.approx(0.05, abs=0.012)


def test_amounts_are_said_in_sigmas_in_percent_or_as_they_are():
    assert amount(ACCURACY, 0.021, NOISE) == "+2.1 sigma" and amount(ACCURACY, 0, NOISE) == "same"
    assert amount(PARAMETERS, -124, NOISE) == "-12.4%" and amount(PARAMETERS, 0.2, NOISE) == "+0.2"


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), max_size=6), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_noise_that_grows_better_known_is_the_pooled_spread_of_numpy(others, seed):
    first = Noise.of([fit(value) for value in seed], BOTH)
    now = first.pooled_with([fit(value) for value in group] for group in others)
    groups = [np.array(group) for group in (seed, *others) if len(group) > 1]
    df = sum(len(group) - 1 for group in groups)
    sigma = np.sqrt(sum(group.var(ddof=1) * (len(group) - 1) for group in groups) / df)
    assert (now.df, now.trainings, dict(now.reference)) == (df, len(seed), dict(first.reference))
    assert now.sigma["accuracy"] == pytest.approx(sigma, abs=1e-9) and now.sigma["parameters"] == 0
    same = Noise.of([fit(v) for v in seed], BOTH, others=[[fit(v) for v in group] for group in others])
    assert now.sigma["accuracy"] == pytest.approx(same.sigma["accuracy"], abs=1e-9)


def test_the_error_of_a_mean_is_that_of_scipy_for_what_varies():
    noise = Noise.of([fit(value) for value in (0.7, 0.8, 0.9)], BOTH)
    assert noise.error(3) == {"accuracy": pytest.approx(sem([0.7, 0.8, 0.9]))}


def test_a_mean_of_equal_values_is_exactly_that_value():
    assert Fitness.mean([fit(0.1, 5178.3)] * 3) == fit(0.1, 5178.3)
    assert Fitness.mean([fit(0.25), fit(0.5)]) == fit(0.375)


def test_a_program_that_reports_the_same_each_time_does_not_tell_a_change_from_luck():
    from agent.core.noise import Noise
    from agent.core.objectives import Objective

    printed, counted = Objective("loss", "min", "printed"), Objective("parameters", "min")
    noise = Noise({"loss": 0.0, "parameters": 0.0}, {"loss": 1.0, "parameters": 100.0}, seeds_itself=True)
    assert str(noise.judge(printed, -0.5)) == "undecided" and not noise.is_real(printed, -0.5)
    assert noise.judge(printed, 0.0).word == "within noise"
    assert noise.judge(counted, -50.0).word == "likely real"


def test_a_count_that_a_script_prints_is_certain_where_anything_else_that_it_prints_varies():
    loss, size, cost = Objective("loss", "min", "printed"), Objective("size", "min", "printed"), Objective("train_time", "min")
    trained = [Fitness({"loss": 1.0 + n / 100, "size": 50.0, "train_time": 3.0}) for n in range(4)]
    noise = Noise.of(trained, (loss, size, cost))
    assert not noise.seeds_itself and noise.judge(size, -25.0).word == "likely real"
    same = [Fitness({"loss": 1.0, "size": 50.0, "train_time": 3.0 + n}) for n in range(4)]  # the clock always varies
    assert Noise.of(same, (loss, size, cost)).seeds_itself
    assert not Noise.of(same, (cost,)).seeds_itself
