"""The credit of lessons that were shown."""

import random

import pytest

from agent.memory.credit import DEAD, STRONG
from tests.memory.scenes import ids, made, memory_of, story


def test_credit_grows_with_gains_and_fades_with_losses():
    memory = memory_of(made(1, insight="a"))
    credits = [memory.credit("0001")]
    for number, verdict in enumerate(("helped", "helped", "hurt", "failed"), 2):
        story(memory, number, ["0001"], verdict)
        credits.append(memory.credit("0001"))
    assert credits[0] == 0 < credits[1] < credits[2]
    assert credits[4] < credits[3] < credits[2]


def test_credit_fades_by_itself():
    memory = memory_of(made(1))
    story(memory, 2, ["0001"], "helped")
    at_first = memory.credit("0001")
    for number in range(3, 503):
        story(memory, number, [], "neutral")
    assert memory.credit("0001") == pytest.approx(at_first / 2)


def test_an_unknown_id_has_no_credit_and_is_no_harm_where_shown():
    memory = memory_of(made(1))
    story(memory, 2, ["9999"], "helped")
    with pytest.raises(KeyError):
        memory.credit("9999")


def scripted(seed):
    """A run in which most candidates lose, those shown 0001 lose less, those shown 0003 more, and 0002 changes nothing."""
    rng = random.Random(seed)
    memory = memory_of(*(made(n, insight=f"insight {n}") for n in (1, 2, 3)))
    for number in range(10, 250):
        shown = rng.choice((1, 2, 3, None))
        gain = rng.gauss({1: 1.0, 2: -0.5, 3: -1.6, None: -0.5}[shown], 1.0)
        verdict = "failed" if rng.random() < 0.2 else "helped" if gain > 0 else "hurt"
        story(memory, number, [f"{shown:04d}"] if shown else [], verdict, gain=abs(gain))
    return memory


@pytest.mark.parametrize("seed", range(8))
def test_a_helpful_insight_rises_above_a_useless_one_and_a_harmful_one_dies(seed):
    memory = scripted(seed)
    assert memory.credit("0001") > STRONG / 2 and memory.credit("0001") > memory.credit("0002") + 3
    assert memory.credit("0002") > memory.credit("0003")
    recalled = ids(memory.recall(["Stage"], [], None, 20_000))
    assert recalled[0] == 1 and 3 not in recalled


def test_an_average_insight_is_not_dropped_for_average_losses():
    memory = memory_of(made(1, insight="a"))
    for number in range(10, 210):
        story(memory, number, ["0001"] if number % 4 == 0 else [], "hurt" if number % 2 else "failed", gain=1.0)
    assert memory.credit("0001") > DEAD / 2 and 1 in ids(memory.recall(["Stage"], [], None, 20_000))


def test_the_dead_stay_dead_when_their_credit_has_faded():
    memory = memory_of(made(1, insight="a"))
    for number in range(3000, 3020):  # what is usual
        story(memory, number, [], "neutral")
    for number in range(2, 8):
        story(memory, number, ["0001"], "hurt", gain=9)
    for number in (8, 9):  # their prompts were written before
        story(memory, number, ["0001"], "helped", gain=9)
    for number in range(10, 1600):
        story(memory, number, [], "neutral")
    assert memory.credit("0001") > DEAD / 2
    assert 1 not in ids(memory.recall(["Stage"], [], None, 50_000))


def test_no_single_candidate_decides():
    memory = memory_of(made(1, insight="a"), made(2, insight="b"))
    story(memory, 3, ["0001"], "hurt", gain=1000)
    story(memory, 4, ["0002"], "helped", gain=1000)
    assert 1 in ids(memory.recall(["Stage"], [], None, 5000)) and memory.strong_insights() == ()
