"""The credit of lessons: what being told them brings, against comparable candidates that were not told."""

import random

import pytest

from agent.memory.credit import DEAD, LITTLE_USE, STRONG
from agent.memory.memory import Memory
from tests.memory.scenes import NOISE, OBJECTIVES, ids, made, memory_of, story


def usual(memory, first, count=20, **rest):
    """Candidates that were told nothing, and gained little."""
    for number in range(first, first + count):
        story(memory, number, [], "within noise", **rest)


def test_credit_grows_with_the_gains_of_readers_and_falls_with_their_losses():
    memory = memory_of(made(1, insight="a"))
    usual(memory, 100)
    credits = [memory.credit("0001")]
    for number, verdict in enumerate(("better", "better", "worse", "failed"), 200):
        story(memory, number, ["0001"], verdict)
        credits.append(memory.credit("0001"))
    assert credits[0] == 0 < credits[1] < credits[2]
    assert credits[4] < credits[3] < credits[2]


def test_credit_fades_by_itself():
    memory = memory_of(made(1))
    usual(memory, 100)
    story(memory, 2, ["0001"])
    at_first = memory.credit("0001")
    usual(memory, 1000, 500)
    assert memory.credit("0001") == pytest.approx(at_first / 2, rel=0.1)


def test_an_unknown_id_has_no_credit_and_is_no_harm_where_shown():
    memory = memory_of(made(1))
    story(memory, 2, ["9999"])
    with pytest.raises(KeyError):
        memory.credit("9999")


def test_being_told_is_no_merit_where_everyone_gains():
    memory = memory_of(made(1), made(2))
    for number in range(10, 70):
        story(memory, number, ["0001"] if number % 2 else [])
    assert abs(memory.credit("0001")) < 0.1
    for number in range(100, 140):  # there is nobody left to compare with
        story(memory, number, ["0002"])
    assert abs(memory.credit("0002")) < 0.1


def test_a_lesson_told_in_strong_operators_is_compared_with_the_same_operator():
    """Whole-program answers gain much, told or not: only the lesson of those that gain more among them earns."""
    memory = memory_of(made(1), made(2))
    for number in range(10, 90, 4):
        story(memory, number, [], "within noise")
        story(memory, number + 1, [], gain=1.5, operator="rewrite")
        story(memory, number + 2, ["0001"], gain=1.5, operator="rewrite")
        story(memory, number + 3, ["0002"], gain=1.5)
    assert abs(memory.credit("0001")) < 0.2 and memory.credit("0002") > 0.4


def test_only_what_a_model_answered_has_readers():
    memory = memory_of(made(1))
    usual(memory, 100)
    story(memory, 2, ["0001"], model="", operator="splice", gain=9)
    (standing,) = [one for one in memory.standings() if one.lesson.id == "0001"]
    assert (standing.readers, standing.credit) == (0, 0)


def test_an_answer_that_names_a_lesson_counts_fully_and_another_little():
    memory = memory_of(made(1), made(2), made(3))
    usual(memory, 100)
    story(memory, 4, ["0001", "0002"], cited=["0001", "0003"])  # 0003 it has read elsewhere in its prompt
    one, other, third = (memory.credit(f"000{n}") for n in (1, 2, 3))
    assert one == third > 3 * other > 0 and LITTLE_USE < 0.3
    found = {one.lesson.id: (one.readers, one.cited) for one in memory.standings()}
    assert [found[f"000{n}"] for n in (1, 2, 3)] == [(1, 1), (1, 0), (1, 1)]


def test_a_repeated_program_brings_nothing():
    memory = memory_of(made(1))
    usual(memory, 100)
    memory.learn(made(2, gain=9, shown=("0001",), cited=("0001",), reason="the same program as 0001"))
    assert abs(memory.credit("0001")) < 0.1


def scripted(seed):
    """A run in which most candidates lose, those shown 0001 lose less, those shown 0003 more, and 0002 changes nothing."""
    rng = random.Random(seed)
    memory = memory_of(*(made(n, insight=f"insight {n}") for n in (1, 2, 3)))
    for number in range(10, 250):
        shown = rng.choice((1, 2, 3, None))
        gain = rng.gauss({1: 1.5, 2: -0.5, 3: -2.5, None: -0.5}[shown], 1.0)
        verdict = "failed" if rng.random() < 0.2 else "better" if gain > 0 else "worse"
        story(memory, number, [f"{shown:04d}"] if shown else [], verdict, gain=abs(gain))
    return memory


@pytest.mark.parametrize("seed", range(8))
def test_a_helpful_insight_rises_above_a_useless_one_and_a_harmful_one_sinks(seed):
    memory = scripted(seed)
    helpful, useless, harmful = (memory.credit(f"000{n}") for n in (1, 2, 3))
    assert helpful > STRONG / 2 and helpful > useless + 0.4 > harmful + 0.8 and abs(useless) < STRONG
    recalled = [one for one in ids(memory.recall(["Stage"], [], None, 20_000)) if one <= 3]
    assert recalled == [1, 2, 3]


def test_an_average_insight_is_not_dropped_for_average_losses():
    memory = memory_of(made(1, insight="a"))
    for number in range(10, 210):
        story(memory, number, ["0001"] if number % 4 == 0 else [], "worse" if number % 2 else "failed", gain=1.0)
    assert memory.credit("0001") > DEAD / 3


def test_the_dead_stay_dead_and_are_told_where_their_block_is_rewritten_only():
    memory = memory_of(made(1, insight="a", kinds=("GELU",)))
    usual(memory, 3000)
    assert 1 in ids(memory.recall(["Other"], ["GELU"], None, 50_000))
    for number in range(2, 8):
        story(memory, number, ["0001"], "worse", gain=9)
    for number in (8, 9):  # their prompts were written before
        story(memory, number, ["0001"], gain=9)
    usual(memory, 10, 1500)
    assert memory.credit("0001") > DEAD / 2
    assert 1 not in ids(memory.recall(["Other"], ["GELU"], None, 50_000))
    assert 1 in ids(memory.recall(["Stage"], [], None, 50_000))


def test_no_single_candidate_decides():
    memory = memory_of(made(1, insight="a"), made(2, insight="b"))
    usual(memory, 100)
    story(memory, 3, ["0001"], "worse", gain=1000)
    story(memory, 4, ["0002"], gain=1000)
    assert memory.strong_insights() == () and {one.status for one in memory.standings()} == {"alive"}


def test_the_very_first_candidate_cannot_be_compared():
    memory = Memory(OBJECTIVES, NOISE)
    story(memory, 1, [])
    story(memory, 2, ["0001"])
    assert abs(memory.credit("0001")) < 0.1
