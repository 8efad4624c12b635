"""Measurements as text: curves, parameters by call, and what changes are worth."""

from dataclasses import replace

import pytest

from agent.core.objectives import Fitness
from agent.operators.front import describe_front
from agent.operators.measurements import describe_curve, describe_mistakes, describe_parameters, describe_parts, gains
from agent.population.candidate import Evidence


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1, [1]), (8, range(1, 9)), (9, [1, 2, 3, 4, 6, 7, 8, 9]), (300, [1, 44, 86, 129, 172, 215, 257, 300])]
)
def test_a_curve_has_every_epoch_or_is_thinned_evenly_and_always_ends_with_the_last(epochs, shown):
    curve = [(1.0, n / 1000) for n in range(epochs)]
    text = describe_curve(curve, Fitness({"accuracy": 0.5}))
    epochs_text, _, gap = text.partition("; ")
    assert [int(part.split(":")[0]) for part in epochs_text.split(", ")] == list(shown)
    assert gap.endswith(f"is {curve[-1][1] - 0.5:+.2g}")


def test_parameters_are_told_for_each_call_where_they_are_known():
    blocks = {"Body": 900, "Head": 98, "Gate": 2}
    known = Evidence(parameters_by_block=blocks, calls_by_block={"Body": (("4x8x8", 300), ("8x4x4", 600)), "Head": (("10", 98),)})
    assert describe_parameters(known) == "`Body` 900 (90%): 4x8x8 300, 8x4x4 600; `Head` 98 (10%): 10; all others 2"
    older = Evidence(parameters_by_block=blocks, calls_by_block={"Body": (("4x8x8", 0), ("8x4x4", 0))})
    assert describe_parameters(older) == "`Body` 900 (90%): 4x8x8, 8x4x4; `Head` 98 (10%); all others 2"


def test_parts_are_told_by_their_names_unless_there_is_one_alone():
    assert describe_parts(Evidence(parameters_by_part={"stages.0": 2432, "stem": 288})) == "`stages.0` 2,432, `stem` 288"
    assert describe_parts(Evidence(parameters_by_part={"net": 9})) == describe_parts(Evidence()) == ""
    hostile = describe_parts(Evidence(parameters_by_part={"x" * 500: 2, "`\n# now": 1}))
    assert len(hostile) < 80 and "\n" not in hostile


def test_mistakes_are_told_with_their_number():
    assert describe_mistakes(Evidence()) == ""
    known = Evidence(mistakes=(("Shirt as Coat", 1200), ("Coat as Shirt", 60), ("all", 4120)))
    assert describe_mistakes(known) == "1,200 of 4,120 are Shirt as Coat, 60 Coat as Shirt"
    assert describe_mistakes(Evidence(mistakes=(("all", 2),))) == "2, no two of them alike"


def test_a_gain_counts_real_changes_against_the_own_parent(half_way):
    found = gains(half_way.context)
    assert found["seed"] == 0
    assert found["0007"] == 0  # within the noise
    assert found["0013"] == pytest.approx(-7.37 + 3.51, abs=0.05)  # worse by sigmas, smaller by steps of 10 %


def test_an_only_member_of_the_front_is_beaten_in_either_objective(half_way):
    (best,) = [one for one in half_way.context.everyone if one.id == "0004"]
    text = describe_front(replace(half_way.context, front=(best,)))
    assert text == "Enters the front (accuracy / parameters): above 0.9493 / any; any / below 518,858."
    assert describe_front(replace(half_way.context, front=(half_way.seed,))) == ""
