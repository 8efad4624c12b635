"""The rules of a confirmation, each against its definition, scipy or simulation."""

import math
import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.core.objectives import Objective
from agent.core.statistics import welch
from agent.core.verdicts import FEWEST, Sample, judge, noise_of

ACCURACY, LOSS, PARAMETERS = Objective("accuracy", "max"), Objective("loss", "min"), Objective("parameters", "min")
BOTH = (ACCURACY, PARAMETERS)


def sample(id, accuracies, parameters=1000.0, failures=0, planned=None, role="member", search=None, **more):
    values = [{"accuracy": value, "parameters": parameters} for value in accuracies]
    found = Sample(id, role, values, ["fit: NaN"] * failures, planned or len(values) + failures, search, values)
    return replace(found, **more)


def draws(chance, mean, sigma=0.01, n=5):
    return [chance.gauss(mean, sigma) for _ in range(n)]


def programs(members, seed=None, nulls=None, n=5):
    """The seed, two null copies and the members, around 0.9 with a sigma of 0.01 where nothing else is said."""
    chance = random.Random(7)
    return [
        sample("seed", seed or draws(chance, 0.9, n=n), role="seed", search={"accuracy": 0.905, "parameters": 1000.0}),
        *(nulls or [sample(f"null-{i}", draws(chance, 0.9, n=n), role="null") for i in (1, 2)]),
        *members,
    ]


def verdict(samples, id, objectives=BOTH, margin=2.0):
    (found,) = [one for one in judge(samples, objectives, margin).verdicts if one.id == id]
    return found


def near(mean, n=5):
    """n values around a mean with a standard deviation of 0.01."""
    places = [i - (n - 1) / 2 for i in range(n)]
    scale = 0.01 / statistics.stdev(places)
    return [mean + scale * place for place in places]


SEED = near(0.9)


def judged_alone(member, **more):
    nulls = [sample(f"null-{i}", near(0.9), role="null") for i in (1, 2)]
    return verdict(programs([member], SEED, nulls), member.id, **more)


class TestWords:
    def test_better_on_a_noisy_objective_and_no_worse_elsewhere(self):
        found = judged_alone(sample("0001", near(0.95)))
        assert (found.word, found.text) == ("better", "confirmed better on accuracy; no worse elsewhere")

    def test_better_and_where_it_is_worse(self):
        found = judged_alone(sample("0001", near(0.95), 1100.0))
        assert found.text == "confirmed better on accuracy; worse on parameters"

    def test_better_on_both(self):
        found = judged_alone(sample("0001", near(0.95), 900.0))
        assert found.text == "confirmed better on accuracy, parameters; no worse elsewhere"

    def test_no_worse_and_smaller(self):
        found = judged_alone(sample("0001", near(0.9), 900.0))
        assert (found.word, found.text) == ("no_worse_and_smaller", "confirmed no worse and smaller on parameters")

    def test_an_exact_objective_that_is_to_be_large_is_not_called_smaller(self):
        more = (ACCURACY, Objective("parameters", "max"))
        found = judged_alone(sample("0001", near(0.9), 1100.0), objectives=more)
        assert found.text == "confirmed no worse and better on parameters"

    def test_smaller_and_worse_is_not_confirmed(self):
        found = judged_alone(sample("0001", near(0.8), 500.0))
        assert (found.word, found.text) == ("not_confirmed", "not confirmed: better on parameters; worse on accuracy")

    def test_smaller_and_perhaps_worse_is_not_confirmed(self):
        found = judged_alone(sample("0001", near(0.887), 500.0))
        assert found.text == "not confirmed: better on parameters; not shown to be no worse on accuracy"

    def test_measurably_worse_by_less_than_the_margin_is_no_worse_and_says_so(self):
        found = judged_alone(sample("0001", near(0.88), 500.0), margin=5.0)
        assert found.text == "confirmed no worse and smaller on parameters; worse on accuracy by less than the margin"

    def test_the_same_is_not_confirmed(self):
        assert judged_alone(sample("0001", near(0.9))).text == "not confirmed: no difference that would stand out"

    @pytest.mark.parametrize(("parameters", "word"), [(981.0, "not_confirmed"), (980.0, "no_worse_and_smaller")])
    def test_an_exact_change_below_two_percent_is_none(self, parameters, word):
        assert judged_alone(sample("0001", near(0.9), parameters)).word == word

    def test_an_exact_change_for_the_worse_is_named(self):
        found = judged_alone(sample("0001", near(0.9), 1020.0))
        assert found.text == "not confirmed: worse on parameters"

    def test_the_seed_has_no_verdict(self):
        assert verdict(programs([sample("0001", near(0.9))]), "seed").word is None


class TestUndecided:
    def test_one_training_says_nothing(self):
        one = [sample("seed", [0.9], role="seed"), sample("null-1", [0.9], role="null"), sample("0001", [0.99], 500.0)]
        assert verdict(one, "0001").text == f"undecided: 1 of its trainings measured something, and {FEWEST} are needed"
        assert judge(one, BOTH, 2.0).check == "incomplete"

    @pytest.mark.parametrize("made", range(5))
    def test_a_part_of_the_trainings_says_nothing(self, made):
        member = sample("0001", near(0.99)[:made], planned=5)
        found = judged_alone(member)
        assert (found.word, found.text) == ("undecided", f"undecided: {made} of its 5 trainings were made")
        assert found.objectives["accuracy"].p is None and found.objectives["accuracy"].low is None

    def test_a_part_of_the_seeds_trainings_says_nothing_either(self):
        samples = programs([sample("0001", near(0.99))], SEED)
        samples[0] = replace(samples[0], values=samples[0].values[:4])
        found = judge(samples, BOTH, 2.0)
        assert {one.word for one in found.verdicts} == {None, "undecided"}
        assert found.check == "incomplete" and not found.is_complete

    def test_a_training_that_failed_was_made(self):
        assert judged_alone(sample("0001", near(0.9, 4), failures=1)).word != "undecided"

    def test_what_is_undecided_still_counts_as_a_comparison(self):
        part, whole = sample("0001", near(0.9)[:3], planned=5), sample("0002", near(0.93))
        samples = programs([part, whole], SEED)
        assert verdict(samples, "0002").objectives["accuracy"].adjusted_p == pytest.approx(2 * welch(near(0.93), SEED).p)


class TestFailures:
    @given(st.integers(1, 3), st.floats(0.91, 0.999))
    def test_a_member_that_fails_more_often_than_the_seed_is_never_confirmed(self, failures, mean):
        found = judged_alone(sample("0001", near(mean, 5 - failures), 100.0, failures=failures))
        assert (found.word, found.text) == ("not_confirmed", f"not confirmed: {failures} of 5 of its trainings failed")
        assert (found.trainings, len(found.failures)) == (5 - failures, failures)

    def test_one_that_fails_as_often_as_the_seed_can_be(self):
        nulls = [sample(f"null-{i}", near(0.9), role="null") for i in (1, 2)]
        seed = sample("seed", near(0.9, 4), failures=1, role="seed")
        assert verdict([seed, *nulls, sample("0001", near(0.96, 4), failures=1)], "0001").word == "better"

    def test_one_that_always_fails_is_not_confirmed(self):
        assert judged_alone(sample("0001", [], failures=5)).word == "not_confirmed"

    def test_a_seed_that_fails_leaves_all_undecided(self):
        seed = sample("seed", [0.9], failures=4, role="seed")
        found = verdict([seed, sample("0001", near(0.99))], "0001")
        assert found.text == "undecided: 1 of the seed's trainings measured something, and 2 are needed"


class TestFamily:
    VALUES = st.lists(st.floats(0.85, 0.95), min_size=5, max_size=5, unique=True)

    @given(st.lists(VALUES, min_size=1, max_size=5), VALUES)
    @settings(max_examples=40)
    def test_all_members_and_noisy_objectives_are_adjusted_together(self, members, seed):
        two = (ACCURACY, LOSS, PARAMETERS)
        made = [with_loss(sample(f"{i:04d}", values)) for i, values in enumerate(members)]
        samples = [with_loss(sample("seed", seed, role="seed")), *made]
        verdicts = judge(samples, two, 2.0)
        assert verdicts.comparisons == 2 * len(members)
        raw = {(v.id, o): v.objectives[o].p for v in verdicts.verdicts if v.role == "member" for o in ("accuracy", "loss")}
        running = 0.0
        for rank, key in enumerate(sorted(raw, key=raw.get)):  # Holm 1979
            running = max(running, min(1.0, (len(raw) - rank) * raw[key]))
            (one,) = [v for v in verdicts.verdicts if v.id == key[0]]
            assert one.objectives[key[1]].adjusted_p == pytest.approx(running)

    def test_null_copies_are_outside_of_the_family(self):
        member = sample("0001", near(0.93))
        without = verdict([sample("seed", SEED, role="seed"), member], "0001").objectives["accuracy"]
        with_them = judged_alone(member).objectives["accuracy"]
        assert with_them.adjusted_p == without.adjusted_p == with_them.p

    def test_a_null_copy_is_judged_as_one_more_member(self):
        members = [sample(f"{i:04d}", near(0.9)) for i in range(4)]
        null = sample("null-1", near(0.93), role="null")
        samples = [sample("seed", SEED, role="seed"), null, *members]
        assert verdict(samples, "null-1").objectives["accuracy"].adjusted_p == pytest.approx(5 * welch(near(0.93), SEED).p)

    def test_a_null_copy_that_is_confirmed_fails_the_check(self):
        better = [sample("null-1", near(0.9), role="null"), sample("null-2", near(0.95), role="null")]
        assert judge(programs([sample("0001", near(0.9))], SEED, better), BOTH, 2.0).check == "failed"
        fine = [sample("null-1", near(0.9), role="null"), sample("null-2", near(0.88), role="null")]
        assert judge(programs([sample("0001", near(0.9))], SEED, fine), BOTH, 2.0).check == "passed"

    def test_of_many_confirmations_of_nothing_few_confirm_anything(self):
        chance, wrong, alarms = random.Random(1), 0, 0
        for _ in range(200):
            samples = [
                sample("seed", draws(chance, 0.9), role="seed"),
                *(sample(f"null-{i}", draws(chance, 0.9), role="null") for i in (1, 2)),
                *(sample(f"{i:04d}", draws(chance, 0.9)) for i in range(5)),
            ]
            found = judge(samples, BOTH, 2.0)
            wrong += any(one.word == "better" for one in found.verdicts if one.role == "member")
            alarms += found.check == "failed"
        assert wrong <= 0.05 * 200
        assert alarms <= 0.05 * 200

    def test_a_real_gain_is_found(self):
        chance, found = random.Random(2), 0
        for _ in range(50):
            members = [sample("0001", draws(chance, 0.94)), *(sample(f"000{i}", draws(chance, 0.9)) for i in range(2, 6))]
            found += verdict(programs(members, draws(chance, 0.9)), "0001").word == "better"
        assert found >= 45


class TestMargin:
    @pytest.mark.parametrize("margin", [1.0, 2.0, 3.0])
    @pytest.mark.parametrize("mean", [0.87, 0.89, 0.9])
    def test_no_worse_is_a_one_sided_welch_test_against_the_margin(self, margin, mean):
        found = judged_alone(sample("0001", near(mean)), margin=margin).objectives["accuracy"]
        shifted = [value + margin * 0.01 for value in near(mean)]
        assert found.no_worse_p == pytest.approx(stats.ttest_ind(shifted, SEED, equal_var=False, alternative="greater").pvalue)

    def test_it_is_in_sigmas_of_the_seed_and_its_copies(self):
        wild = sample("0001", [0.5, 0.7, 0.9, 0.99, 0.6])
        samples = programs([wild], SEED, [sample("null-1", near(0.8), role="null")])
        spread = noise_of(samples, BOTH)["accuracy"]
        assert spread.sigma == pytest.approx(0.01) and spread.df == 8
        assert "parameters" not in noise_of(samples, BOTH)

    def test_no_worse_is_adjusted_for_all_members_too(self):
        members = [sample(f"{i:04d}", near(0.9)) for i in range(3)]
        alone = judged_alone(members[0]).objectives["accuracy"].no_worse_p
        assert verdict(programs(members, SEED, [sample("null-1", near(0.9), role="null")]), "0000").objectives[
            "accuracy"
        ].no_worse_p == pytest.approx(3 * alone)


class TestNumbers:
    def test_differences_and_intervals_are_scipys(self):
        member = sample("0001", near(0.92))
        found, test = judged_alone(member).objectives["accuracy"], stats.ttest_ind(near(0.92), SEED, equal_var=False)
        assert found.difference == pytest.approx(0.02) and found.p == pytest.approx(test.pvalue)
        interval = test.confidence_interval(0.95)
        assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))

    def test_shrinkage_is_what_the_search_measured_too_much(self):
        member = sample("0001", near(0.92), search={"accuracy": 0.95, "parameters": 1000.0})
        assert judged_alone(member).objectives["accuracy"].shrinkage == pytest.approx(0.03)
        assert verdict(programs([member]), "null-1").objectives["accuracy"].shrinkage is None

    def test_shrinkage_is_of_validation_although_test_is_judged(self):
        there = [{"accuracy": 0.9, "parameters": 1000.0}] * 5
        member = sample("0001", near(0.5), search={"accuracy": 0.95, "parameters": 1000.0}, validation=there)
        assert judged_alone(member).objectives["accuracy"].shrinkage == pytest.approx(0.05)

    def test_few_trainings_that_agree_by_chance_prove_nothing(self):
        nulls = [sample(f"null-{i}", [0.89, 0.91], role="null") for i in (1, 2)]
        found = verdict([sample("seed", [0.9, 0.9], role="seed"), *nulls, sample("0001", [0.905, 0.905])], "0001")
        assert found.word == "not_confirmed" and found.objectives["accuracy"].p > 0.5
        assert found.objectives["accuracy"].low < 0 < found.objectives["accuracy"].high

    def test_without_any_noise_all_is_exact(self):
        nulls = [sample("null-1", [0.9] * 3, role="null")]
        verdicts = judge([sample("seed", [0.9] * 3, role="seed"), *nulls, sample("0001", [0.95] * 3)], BOTH, 2.0)
        assert (verdicts.sigma, verdicts.comparisons) == ({}, 0)
        assert verdicts.verdicts[-1].text == "confirmed no worse and better on accuracy"

    def test_a_change_from_nothing_is_finite(self):
        found = judged_alone(sample("0001", near(0.9), 5.0)).objectives["parameters"]
        assert found.change == pytest.approx(-0.995)
        nothing = [sample("seed", near(0.9), 0.0, role="seed"), sample("0001", near(0.9), 7.0)]
        assert math.isfinite(verdict(nothing, "0001").objectives["parameters"].change)

    @given(st.floats(0.86, 0.94), st.sampled_from([500.0, 990.0, 1000.0, 1500.0]), st.floats(0.01, 100))
    @settings(max_examples=40)
    def test_neither_the_unit_nor_the_sign_of_an_objective_matters(self, mean, parameters, scale):
        samples = programs([sample("0001", near(mean), parameters)], SEED)
        turned = [
            replace(one, values=[{**v, "accuracy": -scale * v["accuracy"]} for v in one.values], search=None) for one in samples
        ]
        other = (Objective("accuracy", "min"), PARAMETERS)
        plain, mirrored = verdict(samples, "0001"), verdict(turned, "0001", objectives=other)
        assert (plain.word, plain.text) == (mirrored.word, mirrored.text)


def with_loss(one):
    """The same with another noisy objective."""
    return replace(one, values=[{**v, "loss": (v["accuracy"] * 1e6) % 1} for v in one.values], validation=())
