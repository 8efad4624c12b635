"""One program measured against another: the change, the word, the verdict."""

import pytest

from agent.core.effects import Against, table
from agent.core.noise import Noise
from agent.core.objectives import Fitness, Objective

ACCURACY, PARAMETERS = Objective("accuracy", "max"), Objective("parameters", "min")
NOISE = Noise({"accuracy": 0.004, "parameters": 0.0}, {"accuracy": 0.9, "parameters": 1000.0})


def against(after, before, objectives=(ACCURACY, PARAMETERS), noise=NOISE, trainings=(1, 4)):
    names = [o.name for o in objectives]
    mine, other = (Fitness(dict(zip(names, values, strict=True))) for values in (after, before))
    return Against.of("seed", "the seed", (mine, trainings[0]), (other, trainings[1]), objectives, noise)


def change(name, after, before):
    (effect,) = against([after], [before], [Objective(name, "max")], None).effects
    return effect.change


@pytest.mark.parametrize(
    ("name", "after", "before", "text"),
    [
        ("accuracy", 0.904, 0.9, "+0.4 pt"),
        ("val_acc", 0.5, 0.9, "-40 pt"),
        ("accuracy", 90.4, 90.0, "+0.4 pt"),  # in percent already
        ("accuracy", 904, 900, "+0.4%"),  # a count, whatever it is called
        ("accuracy", 1.0, 0.0, "+100 pt"),
        ("accumulated", 0.5, 0.25, "+100.0%"),
        ("parameters", 880, 1000, "-12.0%"),
        ("parameters", 1000, 1000, "same"),
        ("parameters", 999_999, 1_000_000, "-1"),
        ("loss", 0.30000000000000004, 0.3, "same"),  # a mean of equal values
        ("loss", -1.5, -1.0, "-50.0%"),
        ("loss", 0.25, 0.0, "+0.25"),
        ("latency", 250.0, 1.0, "+249 times"),
    ],
)
def test_a_change_is_told_in_a_readers_units(name, after, before, text):
    assert change(name, after, before) == text


def test_the_words_are_those_of_the_run_and_given_only_where_chance_has_a_part():
    found = against((0.95, 880), (0.9, 1000))
    assert found.brief == "accuracy +5 pt (likely real), parameters -12.0%"
    assert found.verdict == "better on accuracy (likely real), parameters"
    lucky = against((0.9085, 1010), (0.9, 1000))
    assert lucky.effects[0].word == str(NOISE.judge(ACCURACY, 0.0085, trainings=1, against=4))
    assert lucky.effects[0].word.startswith("undecided (needs ")
    assert lucky.brief == "accuracy +0.85 pt (undecided), parameters +1.0%"
    assert (
        lucky.verdict == f"undecided on accuracy {lucky.effects[0].word.removeprefix('undecided ')}; hardly changed on parameters"
    )
    assert against((0.901, 1100), (0.9, 1000)).verdict == "worse on parameters; within noise on accuracy"
    assert against((0.9, 1000), (0.9, 1000)).verdict == "the same on accuracy, parameters"


def test_more_trainings_of_both_decide_what_one_does_not():
    once, often = (against((0.9085, 1000), (0.9, 1000), trainings=n) for n in ((1, 4), (9, 9)))
    assert (once.effects[0].short_word, often.effects[0].short_word) == ("undecided", "likely real")


def test_without_a_measured_noise_nothing_is_called_real():
    found = against((0.95, 500), (0.9, 1000), noise=None)
    assert found.brief == "accuracy +5 pt, parameters -50.0%"
    assert found.verdict.startswith("none: the noise was not measured")
    assert not any(one.is_clear for one in found.effects)


def test_what_a_script_reports_is_marked_and_a_constant_metric_decides_nothing():
    reported = Objective("loss", "min", "printed by the script itself")
    noise = Noise({"loss": 0.0}, {"loss": 1.0}, seeds_itself=True)
    found = against([0.5], [1.0], [reported], noise)
    assert found.brief == "loss -50.0% (self-reported, undecided)"
    assert found.verdict == "undecided on loss"


def test_a_table_has_a_row_for_each_objective_and_a_column_for_each_other_program():
    parent = Against.of("0003", "parent 0003", *[(Fitness({"accuracy": v, "parameters": 1e6}), 1) for v in (0.9, 0.8)],
                        (ACCURACY, PARAMETERS), None)  # fmt: skip
    lines = table("this", [parent, against((0.9, 1e6), (0.85, 2e6), noise=None)])
    assert lines == [
        "            this       parent 0003       the seed (mean of 4)",
        "accuracy    0.9        0.8 (+10 pt)      0.85 (+5 pt)",
        "parameters  1,000,000  1,000,000 (same)  2,000,000 (-50.0%)",
    ]
