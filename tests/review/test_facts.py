"""The words for a change against the seed."""

import pytest

from agent.review.facts import format_change, format_distance, format_price, seed_value

STATUS = {
    "seed": {"fitness": {"accuracy": 0.5, "parameters": 1000.0, "zero": 0.0}},
    "noise": {"sigma": {"accuracy": 0.01, "parameters": 0.0}, "mean": {"accuracy": 0.52, "parameters": 1000.0},
              "df": 3, "trainings": 4},
    "objectives": {"accuracy": "max", "parameters": "min"},
}


@pytest.mark.parametrize(
    ("objective", "value", "words"),
    [
        ("accuracy", 0.55, "(+3.0 sigma, undecided (needs 1 more training))"),
        ("accuracy", 0.62, "(+10.0 sigma, likely real)"),
        ("accuracy", 0.525, "(+0.5 sigma, within noise)"),
        ("accuracy", 0.52, "(same)"),
        ("parameters", 900.0, "(-10.0%)"),
        ("zero", 0.25, "(+0.25)"),
    ],
)
def test_a_distance_is_in_sigmas_of_the_mean_or_in_percent_of_the_seed(objective, value, words):
    assert format_distance(STATUS, objective, value) == words


def test_where_nothing_varies_the_seeds_own_value_counts():
    assert (seed_value(STATUS, "accuracy"), seed_value(STATUS, "parameters")) == (0.52, 1000.0)
    assert seed_value({**STATUS, "noise": None}, "accuracy") == 0.5


def test_a_change_is_named_before_its_size():
    assert format_change(STATUS, "accuracy", 0.065) == "+0.065 (+6.5 sigma)"
    assert format_change(STATUS, "parameters", -1500.0) == "-1,500 (-150.0%)"
    assert format_change(STATUS, "parameters", 0) == "same"


@pytest.mark.parametrize(
    ("calls", "unpriced", "words"),
    [(3, 0, "0.25 USD"), (3, 1, "0.25 USD and 1 call of unknown price"), (3, 3, "price unknown"), (0, 0, "0.25 USD")],
)
def test_unknown_prices_are_not_hidden(calls, unpriced, words):
    spend = {"usd": 0.25, "llm_calls": calls, "calls_without_a_known_price": unpriced}
    assert format_price(spend, 2) == words
